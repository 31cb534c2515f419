//! The cluster addresses and node ports of Services.
//!
//! An address is given out as an `IPAddress` of `networking.k8s.io`, as a real server does it; the transaction that writes
//! the Service creates it, so no two Services have one address. A node port is given out the same way, under a key of its
//! own. What belongs to no Service any more is taken back by [`crate::expiry`].

use std::net::{IpAddr, Ipv4Addr};

use apimachinery::field::FieldError;
use apimachinery::json;
use apimachinery::json::{Map, Value};
use apimachinery::meta;
use bytes::Bytes;
use jiff::Timestamp;
use objectstore::{Compare, Transaction, Write};

use super::builtins;
use super::kinds::More;
use crate::codec::{Draft, Stored};
use crate::failure::Failure;
use crate::keys::Keys;
use crate::server::Server;
use crate::target::Target;

/// The range of the addresses, 10.96.0.0/16, as its upper half. The first 256 are for those that are chosen by hand.
const NETWORK: [u8; 2] = [10, 96];
/// The range of the node ports.
const PORTS: std::ops::RangeInclusive<u32> = 30_000..=32_767;

/// The label of addresses that a server has given out itself.
pub(crate) const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");

/// The keys of the addresses.
pub(crate) fn address_keys() -> Keys {
    Keys::new("networking.k8s.io", "ipaddresses", false)
}

/// The keys of the node ports; each holds the Service as `namespace/name`.
pub(crate) fn port_keys() -> Keys {
    Keys::new("", "servicenodeports", false)
}

/// The name of the Service that leads to this server itself, in the namespace `default`.
const OWN_SERVICE: &str = "kubernetes";

/// Makes the Service that clients in pods know this server by, where it is missing.
pub(crate) async fn make_own_service(server: &Server) -> Result<(), Failure> {
    let (address, namespace) = (Ipv4Addr::new(NETWORK[0], NETWORK[1], 0, 1).to_string(), "default");
    let key = Keys::new("", "services", true).object(namespace, OWN_SERVICE);
    if server.store.get(key.clone(), None).await?.is_some() {
        return Ok(());
    }
    let metadata = json!({
        "name": OWN_SERVICE, "namespace": namespace, "uid": uuid::Uuid::new_v4().to_string(),
        "creationTimestamp": meta::format_timestamp(Timestamp::now()),
        "labels": {"component": "apiserver", "provider": "kubernetes"},
    });
    let object = json!({
        "spec": {
            "clusterIP": address, "clusterIPs": [address], "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
        "status": {"loadBalancer": {}},
    });
    let empty = Map::new();
    let draft = Draft::new(object.as_object().unwrap_or(&empty));
    let service = draft.finish(
        crate::registry::builtin_stamp("", "Service"),
        metadata.as_object().unwrap_or(&empty),
    );
    let owner = Owner {
        namespace,
        name: OWN_SERVICE,
    };
    let address_key = address_keys().object("", &address);
    let given = address_object(&address, false, &owner);
    let transaction = Transaction {
        compares: vec![Compare::Absent(key.clone())],
        writes: vec![
            Write::Put(key, service.bytes().clone()),
            Write::Put(address_key, given.bytes().clone()),
        ],
    };
    // Another process may have been quicker.
    server.store.transact(transaction).await?;
    Ok(())
}

/// Gives a Service what it needs: an address, ports. What it had before stays.
pub(super) fn allocate(
    target: &Target,
    old: Option<&Value<'_>>,
    service: &mut Value<'_>,
    more: &mut More,
) -> Result<(), Failure> {
    let name = meta::of(service)
        .map(|metadata| meta::text(metadata, "name").to_owned())
        .unwrap_or_default();
    let Some(Value::Object(spec)) = service.get_mut("spec") else {
        return Ok(());
    };
    let before = old.and_then(|old| old.get("spec")?.as_object());
    let owner = Owner {
        namespace: &target.namespace,
        name: &name,
    };
    if text(spec, "type") == "ExternalName" {
        for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(name);
        }
    } else {
        keep(spec, before, &["ipFamilies", "ipFamilyPolicy"]);
        if text(spec, "clusterIP").is_empty() {
            keep(spec, before, &["clusterIP", "clusterIPs"]);
        }
        address(spec, before, &owner, more)?;
    }
    if matches!(text(spec, "type"), "NodePort" | "LoadBalancer") {
        ports(spec, before, &owner, more);
    }
    Ok(())
}

/// The Service that something is given to.
struct Owner<'o> {
    namespace: &'o str,
    name: &'o str,
}

fn text<'m>(members: &'m Map<'_>, name: &str) -> &'m str {
    members.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What the Service had before and does not say anew.
fn keep(spec: &mut Map<'_>, before: Option<&Map<'_>>, names: &[&'static str]) {
    for name in names {
        if !spec.contains_key(name)
            && let Some(kept) = before.and_then(|before| before.get(name))
        {
            spec.insert(*name, kept.clone().into_owned());
        }
    }
}

fn address(spec: &mut Map<'_>, before: Option<&Map<'_>>, owner: &Owner<'_>, more: &mut More) -> Result<(), Failure> {
    let first = spec
        .get("clusterIPs")
        .and_then(Value::as_array)
        .and_then(|list| list.first()?.as_str());
    let asked = match text(spec, "clusterIP") {
        "" => first.unwrap_or_default().to_owned(),
        given => given.to_owned(),
    };
    if asked == "None" {
        headless(spec);
        return Ok(());
    }
    let had = before.map_or("", |before| text(before, "clusterIP"));
    let given = match asked.parse::<IpAddr>() {
        _ if asked.is_empty() => random_address().into(),
        Ok(address) => address,
        Err(_) => {
            let error = FieldError::invalid("spec.clusterIPs[0]", asked, "must be a valid IP address");
            more.errors.push(error);
            return Ok(());
        }
    };
    let shown = given.to_string();
    if shown != had {
        let key = address_keys().object("", &shown);
        let refusal = (!asked.is_empty()).then(|| builtins::taken("spec.clusterIPs", &shown));
        more.claims.push((Compare::Absent(key.clone()), refusal));
        more.writes.push(Write::Put(
            key,
            address_object(&shown, given.is_ipv6(), owner).bytes().clone(),
        ));
    }
    let family = if given.is_ipv6() { "IPv6" } else { "IPv4" };
    spec.insert("clusterIP", shown.clone());
    spec.insert("clusterIPs", vec![shown]);
    spec.get_or_insert("ipFamilies", vec![family]);
    spec.get_or_insert("ipFamilyPolicy", "SingleStack");
    Ok(())
}

/// A Service without an address: its names lead to its pods.
fn headless(spec: &mut Map<'_>) {
    spec.insert("clusterIP", "None");
    spec.insert("clusterIPs", vec!["None"]);
    let has_selector = spec
        .get("selector")
        .is_some_and(|selector| selector.as_object().is_some_and(|map| !map.is_empty()));
    if has_selector {
        spec.get_or_insert("ipFamilies", vec!["IPv4"]);
        spec.get_or_insert("ipFamilyPolicy", "SingleStack");
    } else {
        spec.get_or_insert("ipFamilies", vec!["IPv4", "IPv6"]);
        spec.get_or_insert("ipFamilyPolicy", "RequireDualStack");
    }
}

fn ports(spec: &mut Map<'_>, before: Option<&Map<'_>>, owner: &Owner<'_>, more: &mut More) {
    let before = before.and_then(|before| before.get("ports")?.as_array());
    let had: Vec<(String, i64)> = before
        .into_iter()
        .flatten()
        .map(|port| {
            (
                identity(port),
                port.get("nodePort").and_then(Value::as_i64).unwrap_or_default(),
            )
        })
        .collect();
    for (position, port) in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let known = had
            .iter()
            .find(|(known, _)| *known == identity(port))
            .map_or(0, |(_, number)| *number);
        let asked = port.get("nodePort").and_then(Value::as_i64).unwrap_or_default();
        let number = match (asked, known) {
            (0, 0) => i64::from(*PORTS.start() + random() % (PORTS.end() - PORTS.start() + 1)),
            (0, known) => known,
            (asked, _) => asked,
        };
        if let Some(port) = port.as_object_mut() {
            port.insert("nodePort", number);
        }
        if had.iter().any(|(_, known)| *known == number) {
            continue;
        }
        let path = format!("spec.ports[{position}].nodePort");
        if !u32::try_from(number).is_ok_and(|number| PORTS.contains(&number)) {
            let why = "provided port is not in the valid range. The range of valid ports is 30000-32767";
            more.errors.push(FieldError::invalid(path, number, why));
            continue;
        }
        let key = port_keys().object("", &number.to_string());
        let refusal = (asked != 0).then(|| builtins::taken(&path, &number.to_string()));
        let value = Bytes::from(format!("{}/{}", owner.namespace, owner.name));
        more.claims.push((Compare::Absent(key.clone()), refusal));
        more.writes.push(Write::Put(key, value));
    }
}

/// What a port is known by when it is written again.
fn identity(port: &Value<'_>) -> String {
    format!("{}/{}", port["port"], port["protocol"])
}

fn random() -> u32 {
    (uuid::Uuid::new_v4().as_u128() & u128::from(u32::MAX)) as u32
}

fn random_address() -> Ipv4Addr {
    const KEPT: u32 = 256;
    let low = KEPT + random() % (65_534 - KEPT);
    Ipv4Addr::new(NETWORK[0], NETWORK[1], (low >> 8) as u8, (low & 0xff) as u8)
}

fn address_object(address: &str, is_v6: bool, owner: &Owner<'_>) -> Stored {
    let family = if is_v6 { "IPv6" } else { "IPv4" };
    let metadata = json!({
        "name": address, "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": meta::format_timestamp(Timestamp::now()),
        "generation": 1, "labels": {"ipaddress.kubernetes.io/ip-family": family, MANAGED_BY.0: MANAGED_BY.1},
    });
    let object = json!({"spec": {"parentRef": {"group": "", "resource": "services", "namespace": owner.namespace, "name": owner.name}}});
    let empty = Map::new();
    let draft = Draft::new(object.as_object().unwrap_or(&empty));
    draft.finish(
        crate::registry::builtin_stamp("networking.k8s.io", "IPAddress"),
        metadata.as_object().unwrap_or(&empty),
    )
}
