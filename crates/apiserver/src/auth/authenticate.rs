//! From a request to the user who sends it.

use apimachinery::status::Status;
use http::{HeaderMap, header};

use super::tokens::Verified;
use super::{BadCredentials, PeerIdentity, UserInfo, bearer};
use crate::failure::Failure;
use crate::server::Server;

/// The user of a request.
///
/// # Errors
/// 401 for wrong credentials, and for none where anonymous requests are not let in.
pub(crate) async fn user(
    server: &Server,
    headers: &HeaderMap,
    peer: Option<&PeerIdentity>,
) -> Result<UserInfo, Failure> {
    if peer.is_none()
        && let Some(token) = own_token(server, headers)
    {
        return match server.tokens.verify(server, token, &[]).await? {
            Ok(verified) => Ok(verified.user),
            Err(why) => {
                tracing::debug!(why, "a service account token is refused");
                Err(Status::unauthorized().into())
            }
        };
    }
    match server.authenticator.authenticate(headers, peer) {
        Ok(Some(user)) => Ok(user),
        Ok(None) if server.anonymous => Ok(UserInfo::anonymous()),
        Ok(None) | Err(BadCredentials) => Err(Status::unauthorized().into()),
    }
}

/// The bearer token of a request that this server says to have issued itself.
fn own_token<'h>(server: &Server, headers: &'h HeaderMap) -> Option<&'h [u8]> {
    let token = bearer(headers.get(header::AUTHORIZATION)?.as_bytes())?;
    server.tokens.is_ours(token).then_some(token)
}

/// Whose token this is, for a review of it.
///
/// # Errors
/// The inner one says what is wrong with the token.
pub(crate) async fn review(
    server: &Server,
    token: &str,
    audiences: &[String],
) -> Result<Result<Verified, String>, Failure> {
    let invalid = || Ok(Err("invalid bearer token".to_owned()));
    if server.tokens.is_ours(token.as_bytes()) {
        return server.tokens.verify(server, token.as_bytes(), audiences).await;
    }
    let Ok(value) = http::HeaderValue::try_from(format!("Bearer {token}")) else {
        return invalid();
    };
    // A token that names no audience is good for this server.
    let own = &server.tokens.accounts.audiences;
    let wanted = if audiences.is_empty() {
        own.as_slice()
    } else {
        audiences
    };
    let audiences: Vec<String> = wanted
        .iter()
        .filter(|audience| own.contains(audience))
        .cloned()
        .collect();
    if audiences.is_empty() {
        return invalid();
    }
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    match server.authenticator.authenticate(&headers, None) {
        Ok(Some(user)) => Ok(Ok(Verified { user, audiences })),
        Ok(None) | Err(BadCredentials) => invalid(),
    }
}
