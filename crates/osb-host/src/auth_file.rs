//! The file that `--auth-file` names: who may call, beside the login of this machine's own clients.
//!
//! YAML, or JSON, which is YAML. All parts are optional; secrets may lie in files of their own. Paths are relative to
//! the folder of the file.
//!
//! ```yaml
//! users:
//! - username: cloud-controller
//!   password_file: cf-password
//!   platform: cf
//! tokens:
//! - name: ci
//!   token: 0b1f…
//! oidc:
//! - issuer: https://login.example.com
//!   audience: osb
//!   jwks_url: https://login.example.com/keys
//!   platform_claim: azp
//!   platforms: { cf-client: cf, k8s-client: kubernetes }
//! client_certificates:
//!   ca_file: clients.pem
//!   clients:
//!   - subject: CN=cloud-controller,O=Example
//!     platform: cf
//!   - dns: catalog.example.com
//!     platform: kubernetes
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use osb_server::{
    Algorithm, CertificateName, CertificateRule, Issuer, IssuerKeys, Logins, Platform, PlatformOf, Refresh, Token, User,
};
use serde::Deserialize;

use crate::credentials::{DEFAULT_PLATFORM, is_namespace};
use crate::error::HostError;
use crate::{fetch, files};

/// So far the clocks of an issuer and of this machine may differ when nothing else is said.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    users: Vec<UserEntry>,
    tokens: Vec<TokenEntry>,
    oidc: Vec<IssuerEntry>,
    client_certificates: Option<CertificatesEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    username: String,
    password: Option<String>,
    password_file: Option<PathBuf>,
    platform: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: String,
    token: Option<String>,
    token_file: Option<PathBuf>,
    platform: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerEntry {
    issuer: String,
    audience: OneOrMany,
    jwks_url: Option<String>,
    jwks_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    /// Keys are not fetched more often than that.
    refetch_secs: Option<u32>,
    algorithms: Option<Vec<String>>,
    clock_skew_secs: Option<u32>,
    platform: Option<String>,
    platform_claim: Option<String>,
    #[serde(default)]
    platforms: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificatesEntry {
    ca_file: PathBuf,
    #[serde(default)]
    required: bool,
    clients: Vec<ClientEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientEntry {
    subject: Option<String>,
    dns: Option<String>,
    uri: Option<String>,
    platform: Option<String>,
}

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct AuthFile {
    pub(crate) logins: Logins,
    /// Who signs the certificates of clients, if they are asked for one.
    pub(crate) client_authority: Option<ClientAuthority>,
}

/// Who signs the certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientAuthority {
    pub(crate) path: PathBuf,
    pub(crate) pem: Vec<u8>,
    /// Whether a client without a certificate is turned away before it can say anything.
    pub(crate) required: bool,
}

impl AuthFile {
    /// Reads the file and everything that it names, but no URL. Tells which files these are, also when one of them is
    /// wrong.
    pub(crate) fn read(path: &Path, files: &mut Vec<PathBuf>) -> Result<Self, HostError> {
        let mut reader = Reader { path, files };
        let text = reader.file(path)?;
        let text = String::from_utf8(text).map_err(|_| reader.wrong("is no UTF-8 text"))?;
        let file = if text.trim().is_empty() {
            File::default()
        } else {
            reader.parse(&text)?
        };
        let logins = Logins {
            users: reader.each(file.users, Reader::user)?,
            tokens: reader.each(file.tokens, Reader::token)?,
            issuers: reader.each(file.oidc, Reader::issuer)?,
            certificates: Vec::new(),
        };
        let (client_authority, certificates) = match file.client_certificates {
            Some(entry) => {
                let path = reader.beside(&entry.ca_file);
                let authority = ClientAuthority {
                    pem: reader.file(&path)?,
                    path,
                    required: entry.required,
                };
                (Some(authority), reader.each(entry.clients, Reader::client)?)
            }
            None => (None, Vec::new()),
        };
        let logins = Logins { certificates, ..logins };
        logins
            .check()
            .map_err(|error| reader.wrong(&format!("cannot be used: {error}")))?;
        Ok(Self {
            logins,
            client_authority,
        })
    }

    /// Every platform that somebody belongs to, several times perhaps.
    pub(crate) fn platforms(&self) -> impl Iterator<Item = &Platform> {
        let logins = &self.logins;
        let users = logins.users.iter().map(|user| &user.platform);
        let tokens = logins.tokens.iter().map(|token| &token.platform);
        let certificates = logins.certificates.iter().map(|rule| &rule.platform);
        let issuers = logins.issuers.iter().flat_map(|issuer| match &issuer.platform {
            PlatformOf::Always(platform) => vec![platform],
            PlatformOf::Claim { platforms, .. } => platforms.iter().map(|(_, platform)| platform).collect(),
        });
        users.chain(tokens).chain(issuers).chain(certificates)
    }
}

/// Reads one file, and remembers what else was read for it.
struct Reader<'a> {
    path: &'a Path,
    files: &'a mut Vec<PathBuf>,
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> HostError {
        HostError::content(self.path, what)
    }

    fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or_else(|| Path::new("")).join(path)
    }

    fn file(&mut self, path: &Path) -> Result<Vec<u8>, HostError> {
        self.files.push(path.to_owned());
        files::read_named(path)
    }

    /// What the parser says may quote a password: only the place is passed on.
    fn parse(&self, text: &str) -> Result<File, HostError> {
        serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().map(|at| format!(" at line {}", at.line())).unwrap_or_default();
            self.wrong(&format!(
                "is not what it should be{place}: YAML or JSON with `users` (username, password or password_file, \
                 platform), `tokens` (name, token or token_file, platform), `oidc` (issuer, audience, jwks_url or \
                 jwks_file, ca_file, refetch_secs, algorithms, clock_skew_secs, platform or platform_claim with platforms) and \
                 `client_certificates` (ca_file, required, clients with subject, dns or uri, and platform)"
            ))
        })
    }

    fn each<T, U>(
        &mut self,
        entries: Vec<T>,
        read: fn(&mut Self, T) -> Result<U, HostError>,
    ) -> Result<Vec<U>, HostError> {
        entries.into_iter().map(|entry| read(self, entry)).collect()
    }

    fn platform(&self, name: Option<&str>) -> Result<Platform, HostError> {
        let name = name.unwrap_or(DEFAULT_PLATFORM);
        if is_namespace(name) {
            Ok(Platform(name.into()))
        } else {
            Err(self.wrong(&format!(
                "names the platform {name:?}: use lower-case letters, digits and '-', at most 63"
            )))
        }
    }

    /// A secret, from here or from a file of its own, where a line end does not belong to it.
    fn secret(&mut self, what: &str, here: Option<String>, file: Option<&PathBuf>) -> Result<String, HostError> {
        match (here, file) {
            (Some(secret), None) => Ok(secret),
            (None, Some(path)) => {
                let path = self.beside(path);
                let text =
                    String::from_utf8(self.file(&path)?).map_err(|_| HostError::content(&path, "is no UTF-8 text"))?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            _ => Err(self.wrong(&format!("needs for {what} either the secret or the file that it is in"))),
        }
    }

    fn user(&mut self, entry: UserEntry) -> Result<User, HostError> {
        let what = format!("the user {:?}", entry.username);
        Ok(User {
            platform: self.platform(entry.platform.as_deref())?,
            password: self.secret(&what, entry.password, entry.password_file.as_ref())?,
            name: entry.username,
        })
    }

    fn token(&mut self, entry: TokenEntry) -> Result<Token, HostError> {
        let what = format!("the token {:?}", entry.name);
        Ok(Token {
            platform: self.platform(entry.platform.as_deref())?,
            token: self.secret(&what, entry.token, entry.token_file.as_ref())?,
            name: entry.name,
        })
    }

    fn issuer(&mut self, entry: IssuerEntry) -> Result<Issuer, HostError> {
        let name = &entry.issuer;
        let algorithms = match &entry.algorithms {
            None => Algorithm::ALL.to_vec(),
            Some(names) => names
                .iter()
                .map(|algorithm| Algorithm::of(algorithm))
                .collect::<Option<_>>()
                .ok_or_else(|| {
                    self.wrong(&format!(
                        "names for {name} an algorithm that is none of RS256, ES256, EdDSA"
                    ))
                })?,
        };
        Ok(Issuer {
            keys: Arc::new(self.keys(&entry)?),
            platform: self.platform_of(&entry)?,
            audiences: match entry.audience {
                OneOrMany::One(audience) => vec![audience],
                OneOrMany::Many(audiences) => audiences,
            },
            algorithms,
            clock_skew: entry
                .clock_skew_secs
                .map_or(CLOCK_SKEW, |secs| Duration::from_secs(secs.into())),
            issuer: entry.issuer,
        })
    }

    fn keys(&mut self, entry: &IssuerEntry) -> Result<IssuerKeys, HostError> {
        match (&entry.jwks_url, &entry.jwks_file) {
            (None, Some(path)) => {
                let path = self.beside(path);
                let keys = osb_server::key_set(&self.file(&path)?);
                let keys = keys.map_err(|error| HostError::content(&path, format!("cannot be used: {error}")))?;
                Ok(IssuerKeys::fixed(keys))
            }
            (Some(url), None) => {
                let authorities = match &entry.ca_file {
                    Some(path) => {
                        let path = self.beside(path);
                        Some((self.file(&path)?, path))
                    }
                    None => None,
                };
                let source = fetch::Source::new(url, authorities.as_ref().map(|(pem, _)| pem.as_slice()));
                let source = source.map_err(|what| self.wrong(&format!("names the jwks_url {url:?}: {what}")))?;
                let usual = Refresh::default();
                let least = entry
                    .refetch_secs
                    .map_or(usual.least, |secs| Duration::from_secs(secs.into()));
                Ok(IssuerKeys::fetched(source.into_fetch(), Refresh { least, ..usual }))
            }
            _ => Err(self.wrong(&format!("needs for {} either jwks_url or jwks_file", entry.issuer))),
        }
    }

    fn platform_of(&self, entry: &IssuerEntry) -> Result<PlatformOf, HostError> {
        match (&entry.platform_claim, entry.platforms.is_empty()) {
            (None, true) => Ok(PlatformOf::Always(self.platform(entry.platform.as_deref())?)),
            (Some(claim), false) if entry.platform.is_none() => {
                let platforms = entry.platforms.iter();
                let platforms = platforms
                    .map(|(text, name)| Ok((text.clone(), self.platform(Some(name))?)))
                    .collect::<Result<_, HostError>>()?;
                Ok(PlatformOf::Claim {
                    name: claim.clone(),
                    platforms,
                })
            }
            _ => Err(self.wrong(&format!(
                "needs for {} either platform, or platform_claim together with platforms",
                entry.issuer
            ))),
        }
    }

    fn client(&mut self, entry: ClientEntry) -> Result<CertificateRule, HostError> {
        let name = match (entry.subject, entry.dns, entry.uri) {
            (Some(subject), None, None) => {
                CertificateName::subject(&subject).map_err(|error| self.wrong(&format!("cannot be used: {error}")))?
            }
            (None, Some(dns), None) => CertificateName::Dns(dns),
            (None, None, Some(uri)) => CertificateName::Uri(uri),
            _ => return Err(self.wrong("needs for each client exactly one of subject, dns and uri")),
        };
        Ok(CertificateRule {
            name,
            platform: self.platform(entry.platform.as_deref())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_counted(text: &str) -> (Result<AuthFile, HostError>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.yaml");
        fs::write(&path, text).unwrap();
        fs::write(folder.path().join("secret"), "from-a-file\n").unwrap();
        fs::write(folder.path().join("ca.pem"), "pem").unwrap();
        let mut files = Vec::new();
        let read = AuthFile::read(&path, &mut files);
        (read, files.len())
    }

    fn read(text: &str) -> Result<AuthFile, HostError> {
        read_counted(text).0
    }

    #[test]
    fn all_ways_stand_in_one_file() {
        let (file, files) = read_counted(
            "users:\n\
             - {username: a, password: b, platform: cf}\n\
             - {username: c, password_file: secret}\n\
             tokens:\n\
             - {name: ci, token_file: secret, platform: k8s}\n\
             oidc:\n\
             - issuer: https://login.example.com\n\
             \x20 audience: [osb, other]\n\
             \x20 jwks_url: http://127.0.0.1:1/keys\n\
             \x20 algorithms: [ES256]\n\
             \x20 platform_claim: azp\n\
             \x20 platforms: {x: cf, y: three}\n\
             client_certificates:\n\
             \x20 ca_file: ca.pem\n\
             \x20 clients: [{subject: CN=x, platform: four}]\n",
        );
        let file = file.unwrap();
        assert_eq!(file.logins.users[1].password, "from-a-file");
        assert_eq!(file.logins.tokens[0].token, "from-a-file");
        assert_eq!(file.logins.issuers[0].audiences, ["osb", "other"]);
        let platforms: Vec<&str> = file.platforms().map(|platform| &*platform.0).collect();
        assert_eq!(platforms, ["cf", "default", "k8s", "cf", "three", "four"]);
        assert_eq!(files, 4, "what has to be followed");
        assert_eq!(
            read_counted("users: [{username: u, password_file: missing}]").1,
            2,
            "also when it is not there"
        );
        assert!(
            read(r#"{"users": [{"username": "a", "password": "b"}]}"#).is_ok(),
            "JSON"
        );
        assert!(read("").unwrap().logins.users.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_without_secrets() {
        let issuer = "oidc: [{issuer: i, audience: a, ";
        for (text, said) in [
            ("canary", "line"),
            ("users: canary", "line"),
            ("users: [{username: u, password: canary, pasword_file: x}]", "line 1"),
            (
                "users: [{username: u, password: canary, password_file: secret}]",
                "either the secret or the file",
            ),
            ("users: [{username: u}]", "the user \"u\""),
            ("users: [{username: 'a:b', password: canary}]", "colon"),
            (
                "users: [{username: u, password: canary, platform: Not A Label}]",
                "platform",
            ),
            ("users: [{username: u, password_file: missing}]", "missing"),
            ("tokens: [{name: n, token: 'can ary'}]", "token \"n\""),
            (&format!("{issuer}}}]"), "jwks_url or jwks_file"),
            (
                &format!("{issuer}jwks_url: 'http://login.example.com/keys'}}]"),
                "https",
            ),
            (
                &format!("{issuer}jwks_url: 'https://x/', platform_claim: azp}}]"),
                "platforms",
            ),
            (
                &format!("{issuer}jwks_url: 'https://x/', algorithms: [HS256]}}]"),
                "RS256",
            ),
            (&format!("{issuer}jwks_file: secret}}]"), "JSON Web Key Set"),
            (
                "client_certificates: {ca_file: ca.pem, clients: [{subject: x}]}",
                "subject",
            ),
            (
                "client_certificates: {ca_file: ca.pem, clients: [{dns: x, uri: y}]}",
                "exactly one",
            ),
            ("client_certificates: {ca_file: none.pem, clients: []}", "none.pem"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("canary"), "{text}: {error}");
        }
    }
}
