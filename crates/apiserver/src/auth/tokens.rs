//! Tokens of service accounts: JSON Web Tokens that this server signs (ES256) and believes.
//!
//! The key is made when it is first needed and kept in the store, so that tokens outlive the process and every process on the
//! store believes them. A token counts as long as its account, and the object that it is bound to, exist with the same uid.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use apimachinery::json::Value;
use apimachinery::meta;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use jiff::Timestamp;
use objectstore::{Compare, Outcome, Transaction, Write};
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::UserInfo;
use crate::codec::Stored;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::server::Server;

/// Where the key lies in the store.
const KEY: &[u8] = b"/server/service-account-key";
/// The longest token that is looked at, in bytes.
const LONGEST: usize = 16 * 1024;
/// How many tokens are remembered whose signature is right.
const REMEMBERED: usize = 1024;
/// How long an object may be under deletion while tokens that hang on it still count, and how far clocks may differ, in seconds.
const LEEWAY_SECS: i64 = 60;

/// How tokens of service accounts are issued and believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccounts {
    /// Stands in every token as `iss`. Default: `https://kubernetes.default.svc.cluster.local`.
    pub issuer: String,
    /// For whom a token is good that is to be used with this server, and for whom one is issued that names nobody. Default: the issuer.
    pub audiences: Vec<String>,
}

impl Default for ServiceAccounts {
    fn default() -> ServiceAccounts {
        let issuer = "https://kubernetes.default.svc.cluster.local".to_owned();
        ServiceAccounts {
            audiences: vec![issuer.clone()],
            issuer,
        }
    }
}

/// The name and uid of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    /// Empty for the node of a pod that does not exist.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
}

/// What a token says in the words of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Reference>,
    pub(crate) serviceaccount: Reference,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    /// Seconds since 1970, like the other times.
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) account: Account,
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// What is read of a token before its signature is looked at.
#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// The key pair, and what it is known as.
struct Key {
    pair: EcdsaKeyPair,
    id: String,
}

/// Issues and believes tokens.
pub(crate) struct Issuing {
    pub(crate) accounts: ServiceAccounts,
    key: OnceCell<Arc<Key>>,
    random: SystemRandom,
    /// By the digest of the token: what it says. Its signature is right.
    known: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

/// A token that is good.
pub(crate) struct Verified {
    pub(crate) user: UserInfo,
    /// Those of the wanted audiences for which it is good.
    pub(crate) audiences: Vec<String>,
}

impl Issuing {
    pub(crate) fn new(accounts: ServiceAccounts) -> Issuing {
        Issuing {
            accounts,
            key: OnceCell::new(),
            random: SystemRandom::new(),
            known: Mutex::default(),
        }
    }

    /// Whether a bearer token says that it is from here.
    pub(crate) fn is_ours(&self, token: &[u8]) -> bool {
        let claims = parts(token).and_then(|(_, claims, _)| decoded::<Issuer>(claims));
        claims.is_some_and(|claims| claims.iss == self.accounts.issuer)
    }

    async fn key(&self, server: &Server) -> Result<&Arc<Key>, Failure> {
        self.key.get_or_try_init(|| self.load_key(server)).await
    }

    async fn load_key(&self, server: &Server) -> Result<Arc<Key>, Failure> {
        let place = Bytes::from_static(KEY);
        let stored = match server.store.get(place.clone(), None).await? {
            Some(entry) => entry.value,
            None => self.make_key(server, place).await?,
        };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &stored, &self.random);
        let pair = pair.map_err(|_| internal("the key for tokens cannot be read"))?;
        let id = digest::digest(&digest::SHA256, pair.public_key().as_ref());
        Ok(Arc::new(Key {
            id: URL_SAFE_NO_PAD.encode(id),
            pair,
        }))
    }

    /// Makes the key, unless another process does it first.
    async fn make_key(&self, server: &Server, place: Bytes) -> Result<Bytes, Failure> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.random);
        let made = made.map_err(|_| internal("there is no randomness for a key"))?;
        let made = Bytes::copy_from_slice(made.as_ref());
        let transaction = Transaction {
            compares: vec![Compare::Absent(place.clone())],
            writes: vec![Write::Put(place, made.clone())],
        };
        match server.store.transact(transaction).await? {
            Outcome::Committed(_) => Ok(made),
            Outcome::Refused { current, .. } => current
                .map(|entry| entry.value)
                .ok_or_else(|| internal("the key for tokens has gone")),
        }
    }

    /// Signs a token.
    pub(crate) async fn issue(&self, server: &Server, claims: &Claims) -> Result<String, Failure> {
        let key = self.key(server).await?;
        let header = Header {
            alg: "ES256".to_owned(),
            kid: key.id.clone(),
        };
        let mut token = format!("{}.{}", encoded(&header), encoded(claims));
        let signature = key.pair.sign(&self.random, token.as_bytes());
        let signature = signature.map_err(|_| internal("there is no randomness for a signature"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The public key as a JSON Web Key.
    pub(crate) async fn public_key(&self, server: &Server) -> Result<serde_json::Value, Failure> {
        let key = self.key(server).await?;
        // 0x04, then the two coordinates.
        let point = key.pair.public_key().as_ref();
        let coordinate = |range| point.get(range).map(|bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes));
        Ok(serde_json::json!({
            "use": "sig", "kty": "EC", "kid": key.id, "crv": "P-256", "alg": "ES256",
            "x": coordinate(1..33), "y": coordinate(33..65),
        }))
    }

    /// Whose token this is, if it is good for one of the audiences (none named: this server's own).
    ///
    /// # Errors
    /// The inner one says what is wrong with the token; the outer one that it could not be looked at.
    pub(crate) async fn verify(
        &self,
        server: &Server,
        token: &[u8],
        audiences: &[String],
    ) -> Result<Result<Verified, String>, Failure> {
        let claims = match self.signed(server, token).await? {
            Ok(claims) => claims,
            Err(why) => return Ok(Err(why)),
        };
        let wanted = if audiences.is_empty() {
            &self.accounts.audiences
        } else {
            audiences
        };
        let good: Vec<String> = wanted
            .iter()
            .filter(|audience| claims.aud.contains(audience))
            .cloned()
            .collect();
        if good.is_empty() {
            let shown = |list: &[String]| {
                list.iter()
                    .map(|text| format!("{text:?}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            return Ok(Err(format!(
                "token audiences [{}] is invalid for the target audiences [{}]",
                shown(&claims.aud),
                shown(wanted)
            )));
        }
        if let Err(why) = in_time(&claims, Timestamp::now().as_second()) {
            return Ok(Err(why.to_owned()));
        }
        if let Err(why) = still_there(server, &claims.account).await? {
            return Ok(Err(why));
        }
        Ok(Ok(Verified {
            user: user(&claims),
            audiences: good,
        }))
    }

    /// What the token says, if its signature is right.
    async fn signed(&self, server: &Server, token: &[u8]) -> Result<Result<Arc<Claims>, String>, Failure> {
        let wrong = || Ok(Err("invalid bearer token".to_owned()));
        let mut digest = [0; 32];
        digest.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
        if let Some(claims) = self.remembered().get(&digest) {
            return Ok(Ok(claims.clone()));
        }
        let Some((header, claims, signature)) = parts(token) else {
            return wrong();
        };
        let key = self.key(server).await?;
        if decoded::<Header>(header).is_none_or(|header| header.alg != "ES256" || header.kid != key.id) {
            return wrong();
        }
        let signed = &token[..header.len() + 1 + claims.len()];
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref());
        let right = URL_SAFE_NO_PAD
            .decode(signature)
            .is_ok_and(|signature| public.verify(signed, &signature).is_ok());
        let claims = decoded::<Claims>(claims).filter(|claims| right && claims.iss == self.accounts.issuer);
        let Some(claims) = claims.map(Arc::new) else {
            return wrong();
        };
        let mut known = self.remembered();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(digest, claims.clone());
        Ok(Ok(claims))
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Arc<Claims>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn internal(what: &str) -> Failure {
    apimachinery::status::Status::internal(what).into()
}

/// The three parts of a token, still encoded.
fn parts(token: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    if token.len() > LONGEST {
        return None;
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let found = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(found)
}

fn encoded(part: &impl Serialize) -> String {
    let json = serde_json::to_vec(part).expect("texts, numbers and lists of them can always be written");
    URL_SAFE_NO_PAD.encode(json)
}

fn decoded<T: for<'d> Deserialize<'d>>(part: &[u8]) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn in_time(claims: &Claims, now: i64) -> Result<(), &'static str> {
    if now > claims.exp.saturating_add(LEEWAY_SECS) {
        return Err("service account token has expired");
    }
    if now.saturating_add(LEEWAY_SECS) < claims.nbf {
        return Err("service account token is not valid yet");
    }
    Ok(())
}

fn user(claims: &Claims) -> UserInfo {
    let account = &claims.account;
    let namespace = &account.namespace;
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
    ];
    let mut user = UserInfo::new(
        format!("system:serviceaccount:{namespace}:{}", account.serviceaccount.name),
        groups,
    );
    user.uid = account.serviceaccount.uid.clone();
    let mut extra = |name: &str, value: &str| {
        user.extra
            .insert(format!("authentication.kubernetes.io/{name}"), vec![value.to_owned()]);
    };
    extra("credential-id", &format!("JTI={}", claims.jti));
    for (kind, reference) in [("pod", &account.pod), ("node", &account.node)] {
        if let Some(reference) = reference {
            extra(&format!("{kind}-name"), &reference.name);
            if !reference.uid.is_empty() {
                extra(&format!("{kind}-uid"), &reference.uid);
            }
        }
    }
    user
}

/// Whether the account and what the token is bound to still exist.
async fn still_there(server: &Server, account: &Account) -> Result<Result<(), String>, Failure> {
    let namespace = account.namespace.as_str();
    let own = &account.serviceaccount;
    match found(server, "serviceaccounts", Some(namespace), &own.name).await? {
        None => return Ok(Err(format!("serviceaccounts {:?} not found", own.name))),
        Some(found) if found.uid != own.uid => {
            let (uid, claimed) = (found.uid, &own.uid);
            return Ok(Err(format!(
                "service account UID ({uid}) does not match claim ({claimed})"
            )));
        }
        Some(found) if found.is_over => {
            return Ok(Err(format!(
                "service account {namespace}/{} has been deleted",
                own.name
            )));
        }
        Some(_) => {}
    }
    // The node of a pod is only told.
    let node = account.node.as_ref().filter(|_| account.pod.is_none());
    for (plural, scope, bound) in [
        ("secrets", Some(namespace), account.secret.as_ref()),
        ("pods", Some(namespace), account.pod.as_ref()),
        ("nodes", None, node),
    ] {
        let Some(bound) = bound else { continue };
        let found = found(server, plural, scope, &bound.name).await?;
        if found.is_none_or(|found| found.uid != bound.uid || found.is_over) {
            return Ok(Err("service account token has been invalidated".to_owned()));
        }
    }
    Ok(Ok(()))
}

/// An object that a token hangs on.
pub(crate) struct FoundObject {
    pub(crate) uid: String,
    /// Its deletion began some time ago.
    is_over: bool,
}

/// Looks for an object of the core group.
pub(crate) async fn found(
    server: &Server,
    plural: &str,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<FoundObject>, Failure> {
    let key = Keys::new("", plural, namespace.is_some()).object(namespace.unwrap_or_default(), name);
    let Some(entry) = server.store.get(key, None).await? else {
        return Ok(None);
    };
    let text = Stored::read(entry.value)?.metadata();
    let metadata = text.members()?;
    let deleted = metadata
        .get("deletionTimestamp")
        .and_then(Value::as_str)
        .and_then(meta::parse_timestamp);
    Ok(Some(FoundObject {
        uid: meta::text(&metadata, "uid").to_owned(),
        is_over: deleted.is_some_and(|at| at.as_second() + LEEWAY_SECS < Timestamp::now().as_second()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            aud: vec!["a".into()],
            exp: 1000,
            iat: 100,
            iss: "i".into(),
            jti: "j".into(),
            account: Account {
                namespace: "t".into(),
                node: None,
                pod: None,
                secret: None,
                serviceaccount: Reference {
                    name: "robot".into(),
                    uid: "u".into(),
                },
            },
            nbf: 100,
            sub: "system:serviceaccount:t:robot".into(),
        }
    }

    #[test]
    fn a_token_counts_from_its_beginning_to_its_end() {
        for (now, right) in [(39, false), (40, true), (1060, true), (1061, false)] {
            assert_eq!(in_time(&claims(), now).is_ok(), right, "{now}");
        }
    }

    #[test]
    fn the_user_of_a_token_is_its_account() {
        let user = user(&claims());
        assert_eq!(
            (user.name.as_str(), user.uid.as_str()),
            ("system:serviceaccount:t:robot", "u")
        );
        assert_eq!(
            user.groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:t",
                "system:authenticated"
            ]
        );
        assert_eq!(user.extra["authentication.kubernetes.io/credential-id"], ["JTI=j"]);
    }

    #[test]
    fn what_is_no_token_of_ours_is_left_to_others() {
        let issuing = Issuing::new(ServiceAccounts {
            issuer: "i".into(),
            audiences: Vec::new(),
        });
        let token = |issuer: &str| {
            let mut claims = claims();
            claims.iss = issuer.to_owned();
            format!("e30.{}.c2ln", encoded(&claims))
        };
        assert!(issuing.is_ours(token("i").as_bytes()));
        let long = format!("{}.{}", token("i"), "x".repeat(LONGEST));
        for other in [
            token("j"),
            "a.b".into(),
            "a.b.c".into(),
            format!("{}.x", token("i")),
            long,
            String::new(),
        ] {
            assert!(!issuing.is_ours(other.as_bytes()), "{other:.40}");
        }
    }
}
