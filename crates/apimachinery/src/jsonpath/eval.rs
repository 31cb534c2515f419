//! Walking a value along a path.

use std::cell::Cell;
use std::cmp::Ordering;

use super::{Comparison, Filter, Operand, Step};
use crate::json::Value;

/// How many values one evaluation may touch; behind that nothing more is found.
const MAX_VISITS: usize = 1_000_000;

pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Cell::new(MAX_VISITS))
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    fn spend(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

/// The fast way for paths of plain fields; `Err` for any other path.
pub(super) fn walk_fields<'v, 't>(steps: &[Step], value: &'v Value<'t>) -> Result<Option<&'v Value<'t>>, ()> {
    let mut current = Some(value);
    for step in steps {
        let Step::Field(name) = step else { return Err(()) };
        current = current.and_then(|value| value.as_object()?.get(name));
    }
    Ok(current)
}

pub(super) fn find<'v, 't>(steps: &[Step], value: &'v Value<'t>, budget: &Budget) -> Vec<&'v Value<'t>> {
    let mut current = vec![value];
    for step in steps {
        let mut next = Vec::new();
        for value in current {
            if !budget.spend() {
                break;
            }
            take(step, value, budget, &mut next);
        }
        current = next;
    }
    current
}

fn take<'v, 't>(step: &Step, value: &'v Value<'t>, budget: &Budget, out: &mut Vec<&'v Value<'t>>) {
    match step {
        Step::Field(name) => out.extend(value.as_object().and_then(|map| map.get(name))),
        Step::Index(i) => {
            let items = items(value);
            out.extend(position(*i, items.len()).and_then(|i| items.get(i)));
        }
        Step::Slice { start, end, step } => slice(items(value), *start, *end, *step, budget, out),
        Step::Wildcard => match value {
            Value::Array(items) => out.extend(items.iter().take_while(|_| budget.spend())),
            Value::Object(map) => out.extend(map.values().take_while(|_| budget.spend())),
            _ => {}
        },
        Step::Recursive => descend(value, budget, out),
        Step::Union(steps) => steps.iter().for_each(|step| take(step, value, budget, out)),
        Step::Filter(filter) => {
            out.extend(
                items(value)
                    .iter()
                    .take_while(|_| budget.spend())
                    .filter(|item| passes(filter, item, budget)),
            );
        }
    }
}

fn items<'v, 't>(value: &'v Value<'t>) -> &'v [Value<'t>] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// An index from the start; `None` before the start.
fn position(i: i64, len: usize) -> Option<usize> {
    let from_start = if i < 0 {
        i128::from(i) + len as i128
    } else {
        i128::from(i)
    };
    usize::try_from(from_start).ok()
}

/// A slice that reaches beyond the list finds nothing, as in kubectl.
fn slice<'v, 't>(
    items: &'v [Value<'t>],
    start: i64,
    end: Option<i64>,
    step: usize,
    budget: &Budget,
    out: &mut Vec<&'v Value<'t>>,
) {
    let end = end.map_or(Some(items.len()), |end| position(end, items.len()));
    if let (Some(start), Some(end)) = (position(start, items.len()), end) {
        let part = items.get(start..end).unwrap_or_default();
        out.extend(part.iter().step_by(step.max(1)).take_while(|_| budget.spend()));
    }
}

fn descend<'v, 't>(value: &'v Value<'t>, budget: &Budget, out: &mut Vec<&'v Value<'t>>) {
    if !budget.spend() {
        return;
    }
    out.push(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| descend(item, budget, out)),
        Value::Object(map) => map.values().for_each(|value| descend(value, budget, out)),
        _ => {}
    }
}

fn passes(filter: &Filter, item: &Value<'_>, budget: &Budget) -> bool {
    let left = find(&filter.left, item, budget);
    let Some((comparison, operand)) = &filter.comparison else {
        return !left.is_empty();
    };
    let [left] = left.as_slice() else { return false };
    match operand {
        Operand::Literal(right) => holds(*comparison, left, right),
        Operand::Path(steps) => match find(steps, item, budget).as_slice() {
            [right] => holds(*comparison, left, right),
            _ => false,
        },
    }
}

/// Values of different types are neither equal nor in any order; they are unequal.
fn holds(comparison: Comparison, left: &Value<'_>, right: &Value<'_>) -> bool {
    let ordering = match (left, right) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64().partial_cmp(&b.as_f64()),
        },
        (Value::Bool(a), Value::Bool(b)) if a == b => Some(Ordering::Equal),
        _ => None,
    };
    match comparison {
        Comparison::Equal => ordering == Some(Ordering::Equal),
        Comparison::NotEqual => ordering != Some(Ordering::Equal),
        Comparison::Less => ordering == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => ordering == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    }
}
