//! The status engine: what becomes of an accepted message, and when.

use std::time::Duration;

use rand::rngs::StdRng;

use crate::graph::Message;
use crate::world::{Category, Settings, WindowMode};

/// The words of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Delivered,
    Failed,
    Read,
    Sent,
}

/// One status in a message's future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// When it happens, after the send was accepted.
    pub(crate) after: Duration,
    /// When apps are told, after the send was accepted.
    pub(crate) told: Duration,
    pub(crate) word: Word,
    /// Why it failed.
    pub(crate) error: Option<u32>,
    /// Whether it carries the price: `sent` does, and one of the others.
    pub(crate) is_priced: bool,
}

// === impl Word ===

impl Word {
    /// The word in a webhook.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Read => "read",
            Self::Sent => "sent",
        }
    }
}

/// Plans the statuses of an accepted message, in order.
///
/// `ordered` is the failure that a fault asks for.
pub(crate) fn plan(
    message: &Message,
    settings: &Settings,
    ordered: Option<u32>,
    random: &mut StdRng,
) -> Vec<Step> {
    // All three are drawn each time, so that one switch of a user moves no other delay.
    let sent = settings.sent_ms.draw(random);
    let delivered = sent + settings.delivered_ms.draw(random);
    let read = delivered + settings.read_ms.draw(random);
    if let Some(code) = ordered.or_else(|| failure(message, settings)) {
        return vec![Step {
            error: Some(code),
            ..step(sent, Word::Failed)
        }];
    }
    let mut steps = vec![priced(step(sent, Word::Sent))];
    let user = &message.user;
    if user.blocked || !user.online {
        return steps;
    }
    let reads = settings.reads && user.read_receipts;
    match (user.chat_open, reads) {
        // On an open chat nothing is delivered first; without receipts it shows as delivered.
        (true, true) => steps.push(priced(step(delivered, Word::Read))),
        (_, false) => steps.push(priced(step(delivered, Word::Delivered))),
        (false, true) => {
            steps.push(priced(step(delivered, Word::Delivered)));
            steps.push(step(read, Word::Read));
        }
    }
    steps
}

/// Tells the same statuses the last one first; each still happened when it did.
pub(crate) fn reorder(steps: &mut [Step]) {
    let told: Vec<Duration> = steps.iter().rev().map(|step| step.told).collect();
    for (step, told) in steps.iter_mut().zip(told) {
        step.told = told;
    }
}

/// Tells the first of the statuses at once.
pub(crate) fn hasten(steps: &mut [Step]) {
    if let Some(first) = steps.iter_mut().min_by_key(|step| step.told) {
        first.told = Duration::ZERO;
    }
}

/// Why a message that was accepted fails.
fn failure(message: &Message, settings: &Settings) -> Option<u32> {
    let is_marketing = message.category == Some(Category::Marketing);
    let needs_window = message.category.is_none() && settings.window_mode == WindowMode::Async;
    if !message.user.on_whatsapp {
        Some(131026)
    } else if is_marketing && message.user.marketing_optout {
        Some(131050)
    } else if needs_window && !message.is_window_open {
        Some(131047)
    } else {
        None
    }
}

const fn step(after: Duration, word: Word) -> Step {
    Step {
        after,
        told: after,
        word,
        error: None,
        is_priced: false,
    }
}

const fn priced(step: Step) -> Step {
    Step {
        is_priced: true,
        ..step
    }
}

#[cfg(test)]
mod tests;
