//! Kinds of OpenShift that older templates have in the group `v1`.

/// Groups and the kinds in them that had no group once.
const KINDS: &[(&str, &[&str])] = &[
    (
        "apps.openshift.io/v1",
        &[
            "DeploymentConfig",
            "DeploymentConfigList",
            "DeploymentConfigRollback",
            "DeploymentLog",
            "DeploymentRequest",
        ],
    ),
    (
        "authorization.openshift.io/v1",
        &[
            "ClusterRole",
            "ClusterRoleBinding",
            "ClusterRoleBindingList",
            "ClusterRoleList",
            "LocalResourceAccessReview",
            "LocalSubjectAccessReview",
            "ResourceAccessReview",
            "Role",
            "RoleBinding",
            "RoleBindingList",
            "RoleBindingRestriction",
            "RoleBindingRestrictionList",
            "RoleList",
            "SelfSubjectRulesReview",
            "SubjectAccessReview",
            "SubjectRulesReview",
        ],
    ),
    (
        "build.openshift.io/v1",
        &[
            "BinaryBuildRequestOptions",
            "Build",
            "BuildConfig",
            "BuildConfigList",
            "BuildList",
            "BuildLog",
            "BuildRequest",
        ],
    ),
    (
        "image.openshift.io/v1",
        &[
            "Image",
            "ImageList",
            "ImageSignature",
            "ImageStream",
            "ImageStreamImage",
            "ImageStreamImport",
            "ImageStreamList",
            "ImageStreamMapping",
            "ImageStreamTag",
            "ImageStreamTagList",
        ],
    ),
    (
        "network.openshift.io/v1",
        &[
            "ClusterNetwork",
            "ClusterNetworkList",
            "EgressNetworkPolicy",
            "EgressNetworkPolicyList",
            "HostSubnet",
            "HostSubnetList",
            "NetNamespace",
            "NetNamespaceList",
        ],
    ),
    (
        "oauth.openshift.io/v1",
        &[
            "OAuthAccessToken",
            "OAuthAccessTokenList",
            "OAuthAuthorizeToken",
            "OAuthAuthorizeTokenList",
            "OAuthClient",
            "OAuthClientAuthorization",
            "OAuthClientAuthorizationList",
            "OAuthClientList",
        ],
    ),
    ("project.openshift.io/v1", &["Project", "ProjectList", "ProjectRequest"]),
    (
        "quota.openshift.io/v1",
        &[
            "AppliedClusterResourceQuota",
            "AppliedClusterResourceQuotaList",
            "ClusterResourceQuota",
            "ClusterResourceQuotaList",
        ],
    ),
    ("route.openshift.io/v1", &["Route", "RouteList"]),
    (
        "security.openshift.io/v1",
        &[
            "PodSecurityPolicyReview",
            "PodSecurityPolicySelfSubjectReview",
            "PodSecurityPolicySubjectReview",
            "SecurityContextConstraints",
            "SecurityContextConstraintsList",
        ],
    ),
    ("template.openshift.io/v1", &["Template", "TemplateList"]),
    (
        "user.openshift.io/v1",
        &[
            "Group",
            "GroupList",
            "Identity",
            "IdentityList",
            "User",
            "UserIdentityMapping",
            "UserList",
        ],
    ),
];

/// What a group is written as on OpenShift.
const SUFFIX: &str = ".openshift.io";

/// The group and version of a kind whose `apiVersion` is `v1`; `None` for kinds of Kubernetes itself.
///
/// ```
/// assert_eq!(template::groups::version_of("Route"), Some("route.openshift.io/v1"));
/// assert_eq!(template::groups::version_of("Service"), None);
/// ```
pub fn version_of(kind: &str) -> Option<&'static str> {
    let mut groups = KINDS.iter();
    groups
        .find(|(_, kinds)| kinds.contains(&kind))
        .map(|(version, _)| *version)
}

/// Whether an object of this version and kind needs a cluster that serves OpenShift's groups. Roles and their bindings do not:
/// see [`crate::roles`].
pub fn needs_openshift(api_version: &str, kind: &str) -> bool {
    let version = match api_version {
        "v1" => version_of(kind),
        other => Some(other),
    };
    let group = version
        .and_then(|version| version.split_once('/'))
        .map(|(group, _)| group);
    group.is_some_and(|group| group.ends_with(SUFFIX)) && !crate::roles::is_role(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_one_group() {
        let kinds: Vec<&str> = KINDS.iter().flat_map(|(_, kinds)| kinds.iter().copied()).collect();
        let unique: std::collections::BTreeSet<&str> = kinds.iter().copied().collect();
        assert_eq!(kinds.len(), unique.len());
        assert_eq!(version_of("DeploymentConfig"), Some("apps.openshift.io/v1"));
        assert_eq!(version_of("Pod"), None);
    }

    #[test]
    fn kinds_that_other_clusters_lack_are_known() {
        assert!(needs_openshift("v1", "Route") && needs_openshift("build.openshift.io/v1", "Build"));
        assert!(!needs_openshift("v1", "Service") && !needs_openshift("apps/v1", "Deployment"));
        assert!(!needs_openshift("v1", "RoleBinding") && !needs_openshift("authorization.openshift.io/v1", "Role"));
    }
}
