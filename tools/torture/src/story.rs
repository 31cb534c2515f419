//! What happened to one instance id, for people: both journals in one order.

use std::collections::HashSet;

use crate::journal::{Event, Kill, SlotId, SlotJournal, Violation, What};

/// Lines of a story around its violation.
const BEFORE: usize = 60;
const AFTER: usize = 20;

/// The story of the violation's instance.
pub(crate) fn tell(violation: &Violation, slots: &[SlotJournal], events: &[Event], kills: &[Kill]) -> String {
    let Some(id) = &violation.slot else {
        return violation.text.clone();
    };
    let mut lines: Vec<(u64, String)> = kills
        .iter()
        .map(|kill| (kill.at, "---- the broker is killed".to_owned()))
        .collect();
    for slot in slots.iter().filter(|slot| slot.id == *id) {
        for entry in &slot.entries {
            let group = entry.group;
            lines.push((entry.sent, format!("client  {group:>4} {}", entry.ask)));
            lines.push((
                entry.done,
                format!("client  {group:>4}     {} -> {}", entry.ask, entry.answer),
            ));
        }
    }
    lines.extend(backend_lines(id, events));
    lines.sort_by_key(|(at, _)| *at);
    let position = lines.partition_point(|(at, _)| *at < violation.at);
    let range = position.saturating_sub(BEFORE)..(position + AFTER).min(lines.len());
    let mut story = format!("{} of platform {}: {}\n", id.instance, id.platform, violation.text);
    for (at, line) in &lines[range] {
        let mark = if *at == violation.at { '>' } else { ' ' };
        story.push_str(&format!("{mark} {at:>8} {line}\n"));
    }
    story
}

fn backend_lines(id: &SlotId, events: &[Event]) -> Vec<(u64, String)> {
    let mut calls = HashSet::new();
    let mut lines = Vec::new();
    for event in events {
        if let What::Begin(begin) = &event.what
            && begin.platform == id.platform
            && begin.instance == id.instance
        {
            calls.insert(event.call);
        }
        if calls.contains(&event.call) {
            lines.push((event.at, format!("backend {:>4} {}", event.call, event.what)));
        }
    }
    lines
}
