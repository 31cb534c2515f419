//! Rules of Services and of what belongs to the network.

use std::collections::HashSet;
use std::net::IpAddr;

use apimachinery::field::{self, FieldError};
use apimachinery::json::Value;
use apimachinery::meta;

use super::{IMMUTABLE, at, immutable, is_empty, items, joined, number, one_of, require, require_one_of, text};
use crate::facts::Kind;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const PORT: &str = "must be between 1 and 65535, inclusive";

pub(super) fn check(kind: &str, object: &Value<'_>, errors: &mut Vec<FieldError>) {
    match kind {
        "Service" => service(object, errors),
        "Ingress" => ingress(object, errors),
        "IngressClass" => require(object, "", &["spec.controller"], errors),
        "NetworkPolicy" => {
            for (position, kind) in items(object, "spec.policyTypes").iter().enumerate() {
                if *kind != "Ingress" && *kind != "Egress" {
                    let path = field::index("spec.policyTypes", position);
                    errors.push(FieldError::not_supported(
                        path,
                        kind.clone().into_owned(),
                        &["Egress", "Ingress"],
                    ));
                }
            }
        }
        "EndpointSlice" => slice(object, errors),
        "Endpoints" => endpoints(object, errors),
        "ServiceCIDR" if is_empty(object, "spec.cidrs") => errors.push(FieldError::required("spec.cidrs", "")),
        "IPAddress" => {
            if at(object, "spec.parentRef").is_none() {
                errors.push(FieldError::required("spec.parentRef", ""));
            } else {
                require(object, "", &["spec.parentRef.resource", "spec.parentRef.name"], errors);
            }
            let name = text(object, "metadata.name");
            if name.parse::<IpAddr>().is_err() {
                errors.push(FieldError::invalid(
                    "metadata.name",
                    name.to_owned(),
                    "must be a valid IP address",
                ));
            }
        }
        _ => {}
    }
}

fn service(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    let kind = text(object, "spec.type");
    let is_headless = text(object, "spec.clusterIP") == "None";
    let ports = items(object, "spec.ports");
    if ports.is_empty() && !is_headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    one_of(object, "", "spec.type", &kinds, errors);
    one_of(object, "", "spec.sessionAffinity", &["ClientIP", "None"], errors);
    one_of(object, "", "spec.externalTrafficPolicy", &["Cluster", "Local"], errors);
    one_of(object, "", "spec.internalTrafficPolicy", &["Cluster", "Local"], errors);
    if kind == "ExternalName" {
        let name = text(object, "spec.externalName").trim_end_matches('.');
        if name.is_empty() {
            errors.push(FieldError::required("spec.externalName", ""));
        } else {
            let problems = meta::dns_subdomain_problems(name).into_iter();
            errors.extend(problems.map(|why| FieldError::invalid("spec.externalName", name.to_owned(), why)));
        }
    }
    if is_headless && matches!(kind, "NodePort" | "LoadBalancer") {
        let why = "may not be set to 'None' for NodePort and LoadBalancer services";
        errors.push(FieldError::invalid("spec.clusterIPs[0]", "None", why));
    }
    let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
    for (position, port) in ports.iter().enumerate() {
        let place = field::index("spec.ports", position);
        service_port(port, &place, ports.len() > 1, errors);
        let name = text(port, "name");
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(joined(&place, "name"), name.to_owned()));
        }
        if !numbers.insert((number(port, "port"), text(port, "protocol"))) {
            errors.push(FieldError::duplicate(&place, port.clone().into_owned()));
        }
    }
}

fn service_port(port: &Value<'_>, place: &str, needs_name: bool, errors: &mut Vec<FieldError>) {
    let name = text(port, "name");
    if name.is_empty() {
        if needs_name {
            errors.push(FieldError::required(joined(place, "name"), ""));
        }
    } else {
        let problems = meta::dns_label_problems(name).into_iter();
        errors.extend(problems.map(|why| FieldError::invalid(joined(place, "name"), name.to_owned(), why)));
    }
    let given = number(port, "port").unwrap_or_default();
    if !(1..=65535).contains(&given) {
        errors.push(FieldError::invalid(joined(place, "port"), given, PORT));
    }
    if let Some(target) = number(port, "targetPort").filter(|target| !(1..=65535).contains(target)) {
        errors.push(FieldError::invalid(joined(place, "targetPort"), target, PORT));
    }
    require_one_of(port, place, "protocol", &PROTOCOLS, errors);
}

fn ingress(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    let rules = items(object, "spec.rules");
    if rules.is_empty() && at(object, "spec.defaultBackend").is_none() {
        let shown = object["spec"].clone().into_owned();
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid("spec", shown, why));
    }
    if let Some(default) = at(object, "spec.defaultBackend") {
        backend(default, "spec.defaultBackend", errors);
    }
    for (position, rule) in rules.iter().enumerate() {
        let place = field::index("spec.rules", position);
        let Some(http) = at(rule, "http") else { continue };
        let paths = items(http, "paths");
        if paths.is_empty() {
            errors.push(FieldError::required(joined(&place, "http.paths"), ""));
        }
        for (position, path) in paths.iter().enumerate() {
            let place = field::index(&joined(&place, "http.paths"), position);
            ingress_path(path, &place, errors);
        }
    }
}

fn ingress_path(path: &Value<'_>, place: &str, errors: &mut Vec<FieldError>) {
    if is_empty(path, "pathType") {
        errors.push(FieldError::required(
            joined(place, "pathType"),
            "pathType must be specified",
        ));
    } else {
        let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
        one_of(path, place, "pathType", &kinds, errors);
        let given = text(path, "path");
        if !given.starts_with('/') && text(path, "pathType") != "ImplementationSpecific" {
            errors.push(FieldError::invalid(
                joined(place, "path"),
                given.to_owned(),
                "must be an absolute path",
            ));
        }
    }
    backend(&path["backend"], &joined(place, "backend"), errors);
}

fn backend(backend: &Value<'_>, place: &str, errors: &mut Vec<FieldError>) {
    match (at(backend, "service"), at(backend, "resource")) {
        (None, None) => errors.push(FieldError::required(place, "port or resource is required")),
        (Some(_), Some(_)) => {
            let why = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(place, "", why));
        }
        (Some(service), None) => {
            require(service, &joined(place, "service"), &["name"], errors);
            if is_empty(service, "port.name") && number(service, "port.number").unwrap_or_default() == 0 {
                errors.push(FieldError::required(place, "port name or number is required"));
            }
        }
        (None, Some(resource)) => require(resource, &joined(place, "resource"), &["kind", "name"], errors),
    }
}

fn slice(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    require_one_of(object, "", "addressType", &["FQDN", "IPv4", "IPv6"], errors);
    for (position, endpoint) in items(object, "endpoints").iter().enumerate() {
        let place = joined(&field::index("endpoints", position), "addresses");
        let addresses = items(endpoint, "addresses");
        if addresses.is_empty() {
            errors.push(FieldError::required(&place, "must contain at least 1 address"));
        }
        for (position, address) in addresses.iter().enumerate() {
            let given = address.as_str().unwrap_or_default();
            let is_right = match (text(object, "addressType"), given.parse::<IpAddr>()) {
                ("IPv4", parsed) => parsed.is_ok_and(|ip| ip.is_ipv4()),
                ("IPv6", parsed) => parsed.is_ok_and(|ip| ip.is_ipv6()),
                _ => true,
            };
            if !is_right {
                let path = field::index(&place, position);
                errors.push(FieldError::invalid(
                    path,
                    given.to_owned(),
                    "must be a valid address of its type",
                ));
            }
        }
    }
}

fn endpoints(object: &Value<'_>, errors: &mut Vec<FieldError>) {
    for (position, subset) in items(object, "subsets").iter().enumerate() {
        let place = field::index("subsets", position);
        if is_empty(subset, "addresses") && is_empty(subset, "notReadyAddresses") {
            let why = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(&place, why));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for (position, address) in items(subset, list).iter().enumerate() {
                let given = text(address, "ip");
                if given.parse::<IpAddr>().is_err() {
                    let path = joined(&field::index(&joined(&place, list), position), "ip");
                    errors.push(FieldError::invalid(
                        path,
                        given.to_owned(),
                        "must be a valid IP address",
                    ));
                }
            }
        }
        for (position, port) in items(subset, "ports").iter().enumerate() {
            let place = field::index(&joined(&place, "ports"), position);
            let given = number(port, "port").unwrap_or_default();
            if !(1..=65535).contains(&given) {
                errors.push(FieldError::invalid(joined(&place, "port"), given, PORT));
            }
        }
    }
}

/// What may not change.
pub(super) fn check_change(kind: &Kind, old: &Value<'_>, new: &Value<'_>, errors: &mut Vec<FieldError>) {
    match (kind.group, kind.kind) {
        ("", "Service") => {
            // Another type may have no address, or get one.
            let named = |service| text(service, "spec.type") == "ExternalName";
            let before = text(old, "spec.clusterIP");
            let after = text(new, "spec.clusterIP");
            if !named(old) && !named(new) && !before.is_empty() && before != after {
                errors.push(FieldError::invalid("spec.clusterIPs[0]", after.to_owned(), IMMUTABLE));
            }
        }
        ("discovery.k8s.io", "EndpointSlice") => immutable(old, new, &["addressType"], errors),
        ("networking.k8s.io", "IngressClass") => immutable(old, new, &["spec.controller"], errors),
        ("networking.k8s.io", "IPAddress") => immutable(old, new, &["spec.parentRef"], errors),
        _ => {}
    }
}
