use std::collections::BTreeSet;

use super::*;
use crate::random::SystemRandom;

/// Bytes that count up from one: every value of a byte comes in turn.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

fn generate(from: &str) -> String {
    Expression::parse(from).unwrap().generate(&mut Counting(0)).unwrap()
}

/// All characters that an expression can draw.
fn alphabet(set: &str) -> String {
    let drawn = generate(&format!("[{set}]{{255}}").repeat(8));
    drawn.chars().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Bugs P1 and P2: both ends of a range are drawn, and a range may have one character.
#[test]
fn ranges_have_both_ends() {
    assert_eq!(alphabet("0-1"), "01");
    assert_eq!(alphabet("a-b"), "ab");
    assert_eq!(alphabet("a-a"), "a");
    assert_eq!(alphabet("A-Z").len(), 26);
    assert_eq!(alphabet("a-zA-Z0-9").len(), 62);
}

/// Bug P4: a class is a class whatever follows, and single characters stand where they like. Bug P8: `\a` is letters.
#[test]
fn classes_ranges_and_single_characters_mix() {
    for (set, expected) in [
        ("\\wA-Z", 63),
        ("\\da-z", 36),
        ("\\a", 52),
        ("\\d", 10),
        ("\\A", 32),
        ("\\w", 63),
        ("ABC", 3),
        ("a-z0", 27),
        ("XA-Z", 26),
        ("0a-z", 27),
        ("a-zA-Z0-9_", 63),
        ("aaa", 1),
        ("\\A\\w", 94),
    ] {
        assert_eq!(alphabet(set).len(), expected, "{set}");
    }
    assert!(alphabet("\\wA-Z").contains('a') && !alphabet("\\wA-Z").contains('~'));
    assert!(!alphabet("\\da-z").contains('A') && !alphabet("\\a").contains('0'));
    let symbols: BTreeSet<char> = SYMBOLS.chars().collect();
    assert_eq!(alphabet("\\A"), symbols.into_iter().collect::<String>());
}

/// Bug P5: what only looks like an expression is no password. Bug P6: a range is one of three.
#[test]
fn what_is_no_expression_is_refused_with_what_to_write() {
    const ENDS: &str = "a range whose ends are not both small letters, capital letters or digits";
    for (from, position, what) in [
        ("[a-z]{3,5}", 5, "a length that is not one number"),
        ("[a-z]", 5, "a set without a length"),
        ("x[a-z]{}", 6, "a length that is not one number"),
        ("[a-z", 0, "a set without its closing bracket"),
        ("a-z]{8}", 3, "a closing bracket without a set"),
        ("a-z{8}", 3, "a length without a set in front of it"),
        ("[a-z]{0}", 6, "a length beyond 1 to 255"),
        ("[a-z]{256}", 6, "a length beyond 1 to 255"),
        ("[a-z]{99999999999999999999}", 6, "a length beyond 1 to 255"),
        ("[]{3}", 1, "an empty set"),
        ("[A-z]{3}", 1, ENDS),
        ("[a-Z]{3}", 1, ENDS),
        ("[a-9]{3}", 1, ENDS),
        ("[0-a]{3}", 1, ENDS),
        ("[z-A]{3}", 1, ENDS),
        ("[Z-A]{3}", 1, "a range that ends before it starts"),
        ("[9-0]{3}", 1, "a range that ends before it starts"),
        ("[\\D]{3}", 1, "a class that does not exist"),
        ("[\\s]{3}", 1, "a class that does not exist"),
        ("[a\\]{3}", 2, "a class that does not exist"),
        ("[-]{3}", 1, "a character that a set cannot have"),
        ("[a-]{3}", 1, "a range without an end"),
        ("[a-z!]{3}", 4, "a character that a set cannot have"),
        ("[é]{3}", 1, "a character that a set cannot have"),
    ] {
        let error = Expression::parse(from).unwrap_err();
        assert_eq!((error.position, error.what), (position, what), "{from}");
        assert!(!error.mend.is_empty());
    }
    assert!(Expression::parse(&"[a-z]{255}".repeat(1000)).is_err());
    assert!(Expression::parse(&format!("[{}]{{1}}", "a".repeat(2000))).is_err());
}

#[test]
fn expressions_of_real_templates_are_read() {
    for (from, length) in [
        ("[a-zA-Z0-9]{8}", 8),
        ("user[A-Z0-9]{3}", 7),
        ("[\\w]{50}", 50),
        ("[a-z0-9]{127}", 127),
        ("[a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{4}", 14),
        ("fedora-[a-z0-9]{16}", 23),
        ("[a-zA-Z]{6}[0-9]{1}!", 8),
        ("[a-f0-9]{128}", 128),
        ("[a-zA-Z0-9]{255}", 255),
        ("{\"key\":\"[a-z]{4}\"}", 14),
        ("", 0),
    ] {
        assert_eq!(generate(from).len(), length, "{from}");
    }
    assert!(Expression::parse("changeme[a-a]{3}").unwrap().is_constant());
    assert!(!Expression::parse("user[A-Z]{1}").unwrap().is_constant());
}

/// Bug P7: what is generated is not read as an expression again.
#[test]
fn what_is_generated_is_final() {
    let expression = Expression::parse("[\\A]{255}[\\A]{255}").unwrap();
    for _ in 0..20 {
        assert_eq!(expression.generate(&mut SystemRandom).unwrap().len(), 510);
    }
}

/// Bug P3: the system's randomness, not a clock: the same expression at the same moment differs.
#[test]
fn no_two_passwords_are_alike() {
    let expression = Expression::parse("[a-zA-Z0-9]{16}").unwrap();
    let drawn = (0..1000).map(|_| expression.generate(&mut SystemRandom).unwrap());
    assert_eq!(drawn.collect::<BTreeSet<String>>().len(), 1000);
}

/// Each character is as likely as the others: of the values of a byte those that would favour some are passed over.
#[test]
fn the_choice_is_not_biased() {
    let drawn = generate("[0-9a]{253}");
    for character in "0123456789a".chars() {
        assert_eq!(drawn.matches(character).count(), 23, "{character}");
    }
}

#[test]
fn without_randomness_there_is_no_password() {
    struct Nothing;
    impl Random for Nothing {
        fn fill(&mut self, _: &mut [u8]) -> Result<(), NoRandomness> {
            Err(NoRandomness)
        }
    }
    let expression = Expression::parse("[a-z]{1}").unwrap();
    assert_eq!(expression.generate(&mut Nothing), Err(NoRandomness));
}
