//! `GET /v2/catalog`.

use crate::harness::*;

/// OSB-CAT-01, OSB-CAT-06, OSB-CT-01.
#[tokio::test]
async fn the_catalog_is_served_with_its_tag() {
    let front = Front::new(Script::default());
    let answer = front.plain("GET", "/v2/catalog?x=y").await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, CATALOG.as_bytes()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("content-length"), Some("15"));
    let etag = answer.header("etag").unwrap();
    assert!(
        etag.len() == 34 && etag.starts_with('"') && etag.ends_with('"'),
        "{etag}"
    );
}

/// OSB-CAT-07, OSB-CAT-09.
#[tokio::test]
async fn a_client_that_has_the_catalog_is_told_so() {
    let front = Front::new(Script::default());
    let etag = front
        .plain("GET", "/v2/catalog")
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    let ask = |value: String| front.send(request("GET", "/v2/catalog").header("If-None-Match", value), "");
    for value in [
        etag.clone(),
        format!("W/{etag}"),
        format!("\"x\", {etag} ,\"y\""),
        "*".to_owned(),
    ] {
        let answer = ask(value).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.len(), answer.header("etag")),
            (304, 0, Some(etag.as_str()))
        );
    }
    for value in ["\"x\"", "", "W/\"x\"", "**"] {
        assert_eq!(ask(value.to_owned()).await.status, 200);
    }
}

/// OSB-CAT-10.
#[tokio::test]
async fn conditions_do_not_come_before_version_and_credentials() {
    let front = Front::new(Script::default());
    front
        .send(bare("GET", "/v2/catalog").header("If-None-Match", "*"), "")
        .await
        .refused(401);
    let mut old = request("GET", "/v2/catalog").header("If-None-Match", "*");
    old.headers_mut()
        .unwrap()
        .insert("X-Broker-API-Version", "1.0".parse().unwrap());
    front.send(old, "").await.refused(412);
}
