//! What the certificate of a client says, once rustls has found it to be right.

use osb_server::ClientCertificate;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The attributes of a subject that have a short name (RFC 4514 section 3, and the address of RFC 2985).
const ATTRIBUTES: [(&[u8], &str); 10] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
/// UTF8String, PrintableString, IA5String: what is in use, and is UTF-8.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

/// The names in a certificate; `None` when it cannot be read.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    Some(ClientCertificate {
        subject: subject(certificate.subject()),
        dns_names: certificate.valid_dns_names().map(str::to_owned).collect(),
        uris: certificate.valid_uri_names().map(str::to_owned).collect(),
    })
}

/// The attributes that have a name and a text here. What is of another form ends the list.
fn subject(mut sets: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((SET, mut pairs, rest)) = element(sets) {
        sets = rest;
        while let Some((SEQUENCE, pair, more)) = element(pairs) {
            pairs = more;
            found.extend(attribute(pair));
        }
    }
    found
}

fn attribute(pair: &[u8]) -> Option<(String, String)> {
    let (OBJECT_ID, id, rest) = element(pair)? else {
        return None;
    };
    let (tag, value, _) = element(rest)?;
    let (_, name) = ATTRIBUTES.iter().find(|(known, _)| *known == id)?;
    let text = std::str::from_utf8(value).ok().filter(|_| TEXTS.contains(&tag))?;
    Some(((*name).to_owned(), text.to_owned()))
}

/// The first element of DER: tag, contents, and what follows. Lengths of up to two bytes: no name is longer.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(&length, rest)| (usize::from(length), rest))?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn subject_and_alternative_names_are_read() {
        let mut params = CertificateParams::new(vec!["cc.example.com".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let uri = "spiffe://example.com/cf".to_owned().try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Ex\u{e4}mple ".repeat(30));
        params.distinguished_name.push(DnType::CommonName, "cf");
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let found = names(certificate.der()).unwrap();
        assert_eq!(found.subject[0], ("C".to_owned(), "DE".to_owned()));
        assert_eq!(found.subject[1], ("O".to_owned(), "Ex\u{e4}mple ".repeat(30)));
        assert_eq!(found.subject[2], ("CN".to_owned(), "cf".to_owned()));
        assert_eq!(found.dns_names, ["cc.example.com"]);
        assert_eq!(found.uris, ["spiffe://example.com/cf"]);
    }

    #[test]
    fn damage_is_no_panic() {
        let certificate = CertificateParams::new(vec!["x".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let der = certificate.der().to_vec();
        for position in 0..der.len() {
            for change in [0_u8, 0x7f, 0x82, 0xff] {
                let mut der = der.clone();
                der[position] = change;
                let _ = names(&CertificateDer::from(der.clone()));
                let _ = subject(&der[position..]);
            }
            let _ = subject(&der[..position]);
        }
    }
}
