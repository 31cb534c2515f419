//! Parameters: what can be ordered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest that anything can be made to take, in seconds.
pub(crate) const MAX_SECONDS: u32 = 3600;

/// What can be ordered with an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// How long the provision takes, in seconds.
    #[schemars(range(max = MAX_SECONDS))]
    pub seconds: u32,
    /// How long each removal takes, of the instance and of its bindings, in seconds.
    #[schemars(range(max = MAX_SECONDS))]
    pub removal_seconds: u32,
    /// What fails.
    pub fail_at: Option<FailAt>,
    /// After how many seconds of its work it fails; without it, at the end.
    #[schemars(range(max = MAX_SECONDS))]
    pub fail_after: Option<u32>,
    /// How often it fails before it succeeds; without it, it fails for good.
    #[schemars(range(min = 1, max = 20))]
    pub fail_times: Option<u32>,
    /// Whether a failed update or deprovision says that the instance cannot be used any more.
    pub unusable: bool,
    /// Whether a failed update says that the same one would fail again.
    pub not_repeatable: bool,
    /// Comes back in the credentials of each binding.
    #[schemars(length(max = 1000))]
    pub label: Option<String>,
}

/// What can be ordered with an update. What is not named stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Changes {
    /// How long this update takes, in seconds.
    #[schemars(range(max = MAX_SECONDS))]
    pub seconds: u32,
    /// As of a provision.
    #[schemars(range(max = MAX_SECONDS))]
    pub removal_seconds: Option<u32>,
    /// What fails from now on, this update included: `nothing` ends it.
    pub fail_at: Option<FailAt>,
    /// As of a provision.
    #[schemars(range(max = MAX_SECONDS))]
    pub fail_after: Option<u32>,
    /// As of a provision.
    #[schemars(range(min = 1, max = 20))]
    pub fail_times: Option<u32>,
    /// As of a provision.
    pub unusable: Option<bool>,
    /// As of a provision.
    pub not_repeatable: Option<bool>,
    /// As of a provision.
    #[schemars(length(max = 1000))]
    pub label: Option<String>,
}

/// What can be ordered with a binding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BindingOrder {
    /// How long the bind takes, in seconds.
    #[schemars(range(max = MAX_SECONDS))]
    pub seconds: u32,
    /// After how many seconds the credentials expire. On plans whose bindings can be rotated they do so after a day
    /// unless another time is ordered, else never.
    #[schemars(range(max = 315_360_000))]
    pub expires_in: Option<u32>,
}

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailAt {
    /// The provision.
    Provision,
    /// Each update.
    Update,
    /// Each bind that is no rotation.
    Bind,
    /// Each rotation.
    Rotate,
    /// Each unbind.
    Unbind,
    /// The deprovision.
    Deprovision,
    /// Nothing.
    Nothing,
}

impl Changes {
    /// The order as it is afterwards.
    pub(crate) fn of(self, order: Order) -> Order {
        Order {
            seconds: order.seconds,
            removal_seconds: self.removal_seconds.unwrap_or(order.removal_seconds),
            fail_at: self.fail_at.or(order.fail_at),
            fail_after: self.fail_after.or(order.fail_after),
            fail_times: self.fail_times.or(order.fail_times),
            unusable: self.unusable.unwrap_or(order.unusable),
            not_repeatable: self.not_repeatable.unwrap_or(order.not_repeatable),
            label: self.label.or(order.label),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_change_does_not_name_stays() {
        let order = Order {
            seconds: 1,
            removal_seconds: 2,
            fail_at: Some(FailAt::Bind),
            fail_after: Some(3),
            fail_times: Some(4),
            unusable: true,
            not_repeatable: true,
            label: Some("old".to_owned()),
        };
        assert_eq!(Changes::default().of(order.clone()), order);
        let changes = Changes {
            seconds: 9,
            fail_at: Some(FailAt::Nothing),
            unusable: Some(false),
            label: Some("new".to_owned()),
            ..Changes::default()
        };
        let changed = Order {
            fail_at: Some(FailAt::Nothing),
            unusable: false,
            label: Some("new".to_owned()),
            ..order.clone()
        };
        assert_eq!(changes.of(order), changed);
    }
}
