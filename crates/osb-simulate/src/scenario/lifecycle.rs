//! Without any trouble.

use futures::future::join_all;
use serde_json::Value;

use crate::answer::{Answer, summary};
use crate::call::{Call, Order, Verb};
use crate::play::{Kind, Play, Played, Running, credentials, not_here, wrong};

pub(super) async fn life(play: &Play<'_>) -> Played {
    let order = play.order();
    play.succeed(Verb::Provision, &order).await?;
    if order.terms.instances_retrievable {
        fetched(play, &order, &order.plan).await?;
    }
    if play.subject.is_bindable() {
        play.wire.heading("a binding");
        play.succeed(Verb::Bind, &order).await?;
        play.wire.heading("the binding is removed");
        play.succeed(Verb::Unbind, &order).await?;
        play.nothing_left(Kind::Binding, &order, Running::Nothing).await?;
    }
    play.remove(&order).await
}

/// Instances of several users: what happens to one is not the business of the others.
pub(super) async fn many_at_once(play: &Play<'_>) -> Played {
    const MANY: usize = 8;
    let orders: Vec<Order> = (0..MANY).map(|_| play.order()).collect();
    let verbs: &[Verb] = if play.subject.is_bindable() {
        &[Verb::Provision, Verb::Bind, Verb::Unbind, Verb::Deprovision]
    } else {
        &[Verb::Provision, Verb::Deprovision]
    };
    for verb in verbs {
        let ends = join_all(orders.iter().map(|order| play.succeed(*verb, order))).await;
        ends.into_iter().collect::<Played<Vec<_>>>()?;
    }
    for order in &orders {
        play.nothing_left(Kind::Instance, order, Running::Nothing).await?;
    }
    Ok(())
}

/// Cloud Foundry rotates credentials by several bindings of one application.
pub(super) async fn two_bindings(play: &Play<'_>) -> Played {
    if !play.subject.is_bindable() {
        return not_here("the plan cannot be bound");
    }
    let order = play.order();
    let second = play.another_binding(&order);
    play.succeed(Verb::Provision, &order).await?;
    let old = play.succeed(Verb::Bind, &order).await?;
    let new = play.succeed(Verb::Bind, &second).await?;
    if let (Ok(old), Ok(new)) = (&old.result, &new.result)
        && credentials(old).is_some() != credentials(new).is_some()
    {
        return wrong("one of the two bindings has no credentials");
    }
    play.wire.heading("the old binding is removed, the new one stays");
    play.succeed(Verb::Unbind, &order).await?;
    play.nothing_left(Kind::Binding, &order, Running::Nothing).await?;
    play.succeed(Verb::Unbind, &second).await?;
    play.remove(&order).await
}

/// A broker that needs an application says so.
pub(super) async fn service_key(play: &Play<'_>) -> Played {
    if !play.rules().has_service_keys() {
        return not_here("only Cloud Foundry has service keys");
    }
    if !play.subject.is_bindable() {
        return not_here("the plan cannot be bound");
    }
    let mut order = play.order();
    play.succeed(Verb::Provision, &order).await?;
    order.app.clear();
    let end = play.run(Verb::Bind, &order).await;
    if let Err(why) = &end.result {
        if end.code.as_deref() != Some("RequiresApp") {
            return wrong(format!("a service key is refused: {why}"));
        }
        play.remove(&order).await?;
        return not_here("the broker's bindings need an application");
    }
    play.succeed(Verb::Unbind, &order).await?;
    play.nothing_left(Kind::Binding, &order, Running::Nothing).await?;
    play.remove(&order).await
}

pub(super) async fn update(play: &Play<'_>) -> Played {
    let mut order = updateable(play)?;
    play.succeed(Verb::Provision, &order).await?;
    play.wire.heading("the update");
    play.succeed(Verb::Update, &order).await?;
    if let Some(plan) = order.new_plan.take() {
        order.plan = plan;
    }
    if order.terms.instances_retrievable {
        fetched(play, &order, &order.plan).await?;
    }
    play.remove(&order).await
}

/// An order with an update that the catalog allows.
pub(super) fn updateable(play: &Play<'_>) -> Played<Order> {
    if !play.rules().updates() {
        return not_here("the platform has no updates");
    }
    let mut order = play.order();
    let offering = &play.subject.offering;
    if play.subject.is_plan_updateable() {
        let chosen = |plan: &&osb_api::catalog::Plan| {
            let plans = &play.options.plans;
            plan.id != order.plan
                && (plans.len() < 2 || plans.iter().any(|name| *name == plan.id || *name == plan.name))
        };
        if let Some(plan) = offering.plans.iter().find(chosen) {
            order.new_plan = Some(plan.id.clone());
            return Ok(order);
        }
    }
    if offering.allow_context_updates {
        return Ok(order);
    }
    not_here("the catalog allows neither another plan nor a new context")
}

/// What the broker says of an instance that is there.
async fn fetched(play: &Play<'_>, order: &Order, plan: &str) -> Played {
    let outcome = play.send(Call::FetchInstance, order, None).await;
    let object = match &outcome {
        Ok(answer) if answer.status == 200 => answer.object(),
        _ => None,
    };
    let Some(object) = object else {
        return wrong(format!(
            "the instance is there, but fetching it gives {}",
            summary(&outcome)
        ));
    };
    if object.get("dashboard_url").is_some_and(Value::is_null) {
        return wrong("`dashboard_url` is null: a fetched instance may not have that");
    }
    match object.get("plan_id").and_then(Value::as_str) {
        Some(id) if id != plan => wrong(format!("the fetched instance has the plan {id} instead of {plan}")),
        _ => Ok(()),
    }
}

/// The two routes that IBM Cloud adds.
pub(super) async fn enablement(play: &Play<'_>) -> Played {
    if !play.rules().has_enablement() {
        return not_here("only IBM Cloud has this extension");
    }
    let mut order = play.order();
    play.succeed(Verb::Provision, &order).await?;
    let state = play.send(Call::State, &order, None).await;
    if matches!(&state, Ok(answer) if matches!(answer.status, 404 | 405 | 501)) {
        play.remove(&order).await?;
        return not_here("the broker does not have the two routes of the extension");
    }
    for enabled in [false, true] {
        order.enabled = enabled;
        let set = play.send(Call::SetState, &order, None).await;
        if !matches!(&set, Ok(Answer { status: 200 | 202, .. })) {
            return wrong(format!("setting the state is answered with {}", summary(&set)));
        }
        let state = play.send(Call::State, &order, None).await;
        let said = state
            .as_ref()
            .ok()
            .and_then(|answer| answer.object()?.get("enabled")?.as_bool());
        if said != Some(enabled) {
            return wrong(format!(
                "`enabled` was set to {enabled}, but the state is {}",
                summary(&state)
            ));
        }
    }
    play.remove(&order).await
}
