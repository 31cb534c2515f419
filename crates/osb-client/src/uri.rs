//! URLs: the broker's base, and what is appended to it.

use http::Uri;
use osb_api::id::{BindingId, InstanceId};

use crate::error::Error;
use crate::options::{Options, PlainHttp};

/// The broker's URL without a slash at the end.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    text: String,
    pub(crate) tls: bool,
}

impl Base {
    pub(crate) fn of(options: &Options) -> Result<Self, Error> {
        let uri: Uri = options.url.parse().map_err(|_| Error::Url("is not valid"))?;
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or(Error::Url("has no host"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if options.plain_http == PlainHttp::Everywhere || is_loopback(host) => false,
            Some("http") => return Err(Error::Url("is plain http to another machine: use https, or allow it")),
            _ => return Err(Error::Url("has to start with https:// or http://")),
        };
        if uri.query().is_some() {
            return Err(Error::Url("must not have a query"));
        }
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(Error::Url("must not have credentials in it"));
        }
        Ok(Self {
            text: options.url.trim_end_matches('/').to_owned(),
            tls,
        })
    }

    pub(crate) fn join(&self, path: &Path) -> Result<Uri, Error> {
        self.below(&path.text)
    }

    /// The URI of a path that is encoded already.
    pub(crate) fn below(&self, path: &str) -> Result<Uri, Error> {
        format!("{}{path}", self.text)
            .parse()
            .map_err(|_| Error::Url("becomes too long"))
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A path and query in the making; everything from outside is percent-encoded.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    text: String,
    separator: char,
}

impl Path {
    pub(crate) fn catalog() -> Self {
        Self {
            text: "/v2/catalog".to_owned(),
            separator: '?',
        }
    }

    pub(crate) fn instance(id: &InstanceId) -> Self {
        let mut path = Self {
            text: "/v2/service_instances/".to_owned(),
            separator: '?',
        };
        path.encode(id.as_str());
        path
    }

    pub(crate) fn binding(instance: &InstanceId, id: &BindingId) -> Self {
        let mut path = Self::instance(instance);
        path.text.push_str("/service_bindings/");
        path.encode(id.as_str());
        path
    }

    pub(crate) fn last_operation(mut self) -> Self {
        self.text.push_str("/last_operation");
        self
    }

    /// A query parameter, if it has a value.
    pub(crate) fn query(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.text.push(self.separator);
            self.separator = '&';
            self.text.push_str(name);
            self.text.push('=');
            self.encode(value);
        }
        self
    }

    /// Everything but the unreserved characters; and the points of `.` and `..`, which would mean other paths.
    fn encode(&mut self, text: &str) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let points = matches!(text, "." | "..");
        for byte in text.bytes() {
            if (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) && !points {
                self.text.push(char::from(byte));
            } else {
                let digits = [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
                self.text.push('%');
                self.text.extend(digits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: &str) -> Result<Base, String> {
        Base::of(&Options::new(url, "u", "p")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_prefix_stays_before_the_path() {
        let uri = base("https://broker.example.com:8443/b/")
            .unwrap()
            .join(&Path::catalog())
            .unwrap();
        assert_eq!(uri, "https://broker.example.com:8443/b/v2/catalog");
    }

    /// OSB-URL-01, OSB-URL-03.
    #[test]
    fn ids_and_values_are_encoded() {
        let (instance, binding) = (InstanceId::new("a/b:%é").unwrap(), BindingId::new("..").unwrap());
        let path = Path::binding(&instance, &binding)
            .last_operation()
            .query("operation", Some("x y&z+"))
            .query("plan_id", None)
            .query("service_id", Some("s"));
        assert_eq!(
            path.text,
            "/v2/service_instances/a%2Fb%3A%25%C3%A9/service_bindings/%2E%2E/last_operation?operation=x%20y%26z%2B&service_id=s"
        );
    }

    /// OSB-AUTH-05: a password does not leave this machine unprotected by mistake.
    #[test]
    fn plain_http_is_for_this_machine_unless_allowed() {
        for url in [
            "http://127.0.0.1:1",
            "http://localhost",
            "http://[::1]:80/x",
            "https://example.com",
        ] {
            assert!(base(url).is_ok(), "{url}");
        }
        for url in [
            "http://example.com",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "ftp://localhost",
            "localhost",
            "/x",
            "",
            "https://u:p@h/",
            "https://h/?x",
            "http://",
        ] {
            assert!(base(url).is_err(), "{url}");
        }
        let everywhere = Options {
            plain_http: PlainHttp::Everywhere,
            ..Options::new("http://example.com", "u", "p")
        };
        assert!(Base::of(&everywhere).is_ok());
    }
}
