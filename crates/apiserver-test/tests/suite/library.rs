//! What the library promises by itself.

use apiserver_test::TestServer;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ListParams, PostParams};

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({"metadata": {"name": name}})).unwrap()
}

#[tokio::test]
async fn dozens_of_servers_in_one_process_know_nothing_of_each_other() {
    let one = async |number: usize| {
        let server = TestServer::start().await.unwrap();
        let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
        maps.create(&PostParams::default(), &map(&format!("m{number}")))
            .await
            .unwrap();
        let found = maps.list(&ListParams::default()).await.unwrap().items;
        let names: Vec<_> = found.into_iter().filter_map(|map| map.metadata.name).collect();
        assert_eq!(
            names.iter().filter(|name| name.starts_with('m')).count(),
            1,
            "{names:?}"
        );
    };
    futures::future::join_all((0..48).map(one)).await;
}

#[tokio::test]
async fn a_port_closes_with_its_value_and_the_server_goes_on() {
    let server = TestServer::start().await.unwrap();
    let port = server.listen().await.unwrap();
    let config = kube::config::Kubeconfig::read_from(port.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default())
        .await
        .unwrap();
    let client = kube::Client::try_from(config.clone()).unwrap();
    let through_the_port: Api<ConfigMap> = Api::default_namespaced(client);
    through_the_port
        .create(&PostParams::default(), &map("a"))
        .await
        .unwrap();
    let kubeconfig = port.kubeconfig().to_owned();
    drop(port);
    assert!(!kubeconfig.exists());
    let late: Api<ConfigMap> = Api::default_namespaced(kube::Client::try_from(config).unwrap());
    assert!(late.get("a").await.is_err());
    let inside: Api<ConfigMap> = Api::default_namespaced(server.client());
    inside.get("a").await.unwrap();
}

#[tokio::test]
async fn without_the_token_a_port_shows_nothing() {
    let server = TestServer::start().await.unwrap();
    let port = server.listen().await.unwrap();
    let config = kube::config::Kubeconfig::read_from(port.kubeconfig()).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(config, &Default::default())
        .await
        .unwrap();
    for (token, code) in [(None, 403), (Some("guessed".to_owned()), 401)] {
        config.auth_info.token = token.map(Into::into);
        let namespaces: Api<Namespace> = Api::all(kube::Client::try_from(config.clone()).unwrap());
        let refused = namespaces.list(&ListParams::default()).await.unwrap_err();
        assert!(
            matches!(&refused, kube::Error::Api(status) if status.code == code),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_wrong_definition_is_refused_by_name() {
    let server = TestServer::start().await.unwrap();
    let refused = server
        .define("---\nkind: CustomResourceDefinition\nmetadata: {name: a.b}\n")
        .await
        .unwrap_err();
    assert!(matches!(&refused, apiserver_test::Error::Refused(_)), "{refused}");
}
