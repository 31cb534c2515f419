//! Built-in kinds as the types of a real server read them: what does not fit a type is no object at all, whatever else is wrong
//! with it.

use apimachinery::field::FieldErrorKind;
use apimachinery::json::Value;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::builtin::Special;
use crate::target::Target;

/// Makes of null and nothing what the types make of it. Must come first.
pub(crate) fn fill(target: &Target, object: &mut Value<'_>) {
    match target.resource.rules.special {
        Special::ConfigMap => maps_of_text(object, &["data", "binaryData"]),
        Special::Secret => maps_of_text(object, &["data", "stringData"]),
        _ => {}
    }
}

/// Reads an object of a built-in kind.
///
/// # Errors
/// What does not fit its type.
pub(crate) fn read(target: &Target, object: &Value<'_>) -> Result<(), String> {
    let special = target.resource.rules.special;
    let errors = target.version().schema.validate(object);
    if let Some(error) = errors.iter().find(|error| error.kind == FieldErrorKind::TypeInvalid) {
        return Err(format!("{} has the wrong type", error.path));
    }
    match special {
        Special::Secret => base64(object),
        Special::Event => {
            exact_times(object, &["/eventTime", "/series/lastObservedTime"])?;
            small_numbers(object, &["/count", "/series/count"])
        }
        Special::Plain => {
            exact_times(object, &["/spec/acquireTime", "/spec/renewTime"])?;
            small_numbers(object, &["/spec/leaseDurationSeconds", "/spec/leaseTransitions"])
        }
        _ => Ok(()),
    }
}

/// A null in a map of texts is the empty text; a null for the map is none.
fn maps_of_text(object: &mut Value<'_>, names: &[&str]) {
    let Some(members) = object.as_object_mut() else { return };
    for name in names {
        if let Some(Value::Object(map)) = members.get_mut(name) {
            map.values_mut()
                .filter(|value| value.is_null())
                .for_each(|value| *value = "".into());
        }
        if members.get(name).is_some_and(Value::is_null) {
            members.remove(name);
        }
    }
}

fn base64(object: &Value<'_>) -> Result<(), String> {
    let data = object.get("data").and_then(Value::as_object);
    let is_wrong = |value: &Value| value.as_str().is_none_or(|text| STANDARD.decode(text).is_err());
    if data.into_iter().flatten().any(|(_, value)| is_wrong(value)) {
        return Err("illegal base64 data".to_owned());
    }
    Ok(())
}

/// Times that must be given to the microsecond.
fn exact_times(object: &Value<'_>, places: &[&str]) -> Result<(), String> {
    for place in places {
        let Some(text) = object.pointer(place).and_then(Value::as_str) else {
            continue;
        };
        let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
        if fraction.bytes().take_while(u8::is_ascii_digit).count() != 6 {
            return Err(format!("{place} is not of the form 2006-01-02T15:04:05.000000Z"));
        }
    }
    Ok(())
}

/// Numbers of 32 bits.
fn small_numbers(object: &Value<'_>, places: &[&str]) -> Result<(), String> {
    let too_large = places.iter().find(|place| {
        let number = object.pointer(place).and_then(Value::as_i64);
        number.is_some_and(|number| i32::try_from(number).is_err())
    });
    too_large.map_or(Ok(()), |place| Err(format!("{place} is no number of 32 bits")))
}
