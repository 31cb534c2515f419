//! Rules for bindings: in the answer of a bind, and fetched.

use serde_json::Value;

use super::answers::operation;
use super::{Findings, Kind};

/// What a 202 must not carry.
const CONTENT: &[&str] = &[
    "credentials",
    "syslog_drain_url",
    "route_service_url",
    "volume_mounts",
    "endpoints",
];

/// Members that the catalog has to announce: requirement, member, permission, type.
const ANNOUNCED: &[(&str, &str, &str, Kind)] = &[
    ("OSB-BIND-22", "syslog_drain_url", "syslog_drain", Kind::Text),
    ("OSB-BIND-23", "route_service_url", "route_forwarding", Kind::Text),
    ("OSB-BIND-24", "volume_mounts", "volume_mount", Kind::Array),
];

pub(crate) fn look(findings: &mut Findings, body: &Value, status: u16, requires: Option<&[String]>) {
    if status == 202 {
        let found = CONTENT
            .iter()
            .find(|name| body.get(**name).is_some_and(|value| !value.is_null()));
        findings.that("OSB-BIND-11", found.is_none(), || {
            format!("a 202 has `{}`", found.unwrap_or(&""))
        });
        operation(findings, body, status, "OSB-BIND-20");
        return;
    }
    findings.optional("OSB-BIND-21", body, "a binding", "credentials", Kind::Object);
    for (id, name, permission, kind) in ANNOUNCED {
        let Some(value) = body.get(*name).filter(|value| !value.is_null()) else {
            continue;
        };
        findings.that(id, kind.fits(value), || format!("`{name}` has another type"));
        if let Some(requires) = requires {
            let announced = requires.iter().any(|other| other == permission);
            findings.that(id, announced, || {
                format!("`{name}` without `{permission}` in the offering's `requires`")
            });
        }
    }
    for mount in items(body, "volume_mounts") {
        volume_mount(findings, mount);
    }
    findings.optional("OSB-BIND-27", body, "a binding", "endpoints", Kind::Array);
    for endpoint in items(body, "endpoints") {
        self::endpoint(findings, endpoint);
    }
    if let Some(metadata) = body.get("metadata").filter(|metadata| !metadata.is_null()) {
        times(findings, metadata);
    }
}

fn items<'a>(body: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    body.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn volume_mount(findings: &mut Findings, mount: &Value) {
    let place = "a volume mount";
    findings.required("OSB-BIND-25", mount, place, "driver", Kind::Text);
    findings.required("OSB-BIND-25", mount, place, "container_dir", Kind::Text);
    let one_of = |name: &str, words: &[&str]| {
        mount
            .get(name)
            .and_then(Value::as_str)
            .is_some_and(|word| words.contains(&word))
    };
    findings.that("OSB-BIND-25", one_of("mode", &["r", "rw"]), || {
        format!("{place}: `mode` is not r or rw")
    });
    findings.that("OSB-BIND-25", one_of("device_type", &["shared"]), || {
        format!("{place}: `device_type` is not shared")
    });
    findings.required("OSB-BIND-25", mount, place, "device", Kind::Object);
    if let Some(device) = mount.get("device").filter(|device| device.is_object()) {
        findings.required("OSB-BIND-26", device, "a device", "volume_id", Kind::Text);
        findings.optional("OSB-BIND-26", device, "a device", "mount_config", Kind::Object);
    }
}

fn endpoint(findings: &mut Findings, endpoint: &Value) {
    let place = "an endpoint";
    findings.required("OSB-BIND-28", endpoint, place, "host", Kind::Word);
    let ports = endpoint.get("ports").and_then(Value::as_array);
    let fit =
        ports.is_some_and(|ports| !ports.is_empty() && ports.iter().all(|port| port.as_str().is_some_and(is_port)));
    findings.that("OSB-BIND-28", fit, || {
        format!("{place}: `ports` is no array of strings such as 443 or 9000-9010")
    });
    if let Some(protocol) = endpoint.get("protocol") {
        let known = protocol
            .as_str()
            .is_some_and(|protocol| ["tcp", "udp", "all"].contains(&protocol));
        findings.that("OSB-BIND-28", known, || format!("{place}: `protocol` is {protocol}"));
    }
}

fn is_port(text: &str) -> bool {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first <= last)
}

fn times(findings: &mut Findings, metadata: &Value) {
    for name in ["expires_at", "renew_before"] {
        if let Some(value) = metadata.get(name).filter(|value| !value.is_null()) {
            let fits = value.as_str().is_some_and(is_time);
            findings.that("OSB-BIND-29", fits, || format!("`metadata.{name}` is {value}"));
        }
    }
    let time = |name: &str| metadata.get(name).and_then(Value::as_str).filter(|text| is_time(text));
    if let (Some(renew), Some(expires)) = (time("renew_before"), time("expires_at")) {
        // Both have the same form, so that their order is that of their texts, but for zeros at the end.
        let digits = |time: &str| time.trim_end_matches(['Z', '0']).to_owned();
        let (renew, expires) = (digits(renew), digits(expires));
        findings.that("OSB-BIND-30", renew <= expires, || {
            "`renew_before` is after `expires_at`".to_owned()
        });
    }
}

/// `yyyy-mm-ddThh:mm:ss.sZ` with one digit of a fraction or more.
fn is_time(text: &str) -> bool {
    let Some((time, fraction)) = text.strip_suffix('Z').and_then(|text| text.split_once('.')) else {
        return false;
    };
    let shape: String = time
        .chars()
        .map(|letter| if letter.is_ascii_digit() { '0' } else { letter })
        .collect();
    let in_range = |at: std::ops::Range<usize>, range: std::ops::RangeInclusive<u32>| {
        time.get(at)
            .and_then(|part| part.parse().ok())
            .is_some_and(|number: u32| range.contains(&number))
    };
    shape == "0000-00-00T00:00:00"
        && in_range(5..7, 1..=12)
        && in_range(8..10, 1..=31)
        && in_range(11..13, 0..=23)
        && in_range(14..16, 0..=59)
        && in_range(17..19, 0..=60)
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_form() {
        for time in ["2031-05-04T03:02:01.0Z", "2031-12-31T23:59:60.123456Z"] {
            assert!(is_time(time), "{time}");
        }
        for time in [
            "2031-05-04T03:02:01Z",
            "2031-13-04T03:02:01.0Z",
            "2031-05-04 03:02:01.0Z",
            "",
            "x",
            "äöü.0Z",
        ] {
            assert!(!is_time(time), "{time}");
        }
    }

    #[test]
    fn ports_are_numbers_or_ranges() {
        assert!(is_port("443") && is_port("9000-9010"));
        assert!(!is_port("x") && !is_port("10-9") && !is_port("70000") && !is_port(""));
    }
}
