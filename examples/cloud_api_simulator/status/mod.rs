//! The status engine: what becomes of an accepted message, and when.

pub(crate) mod waiting;

use std::time::Duration;

use rand::rngs::StdRng;

use crate::graph::Message;
use crate::world::{Category, Settings, WindowMode};

/// The words of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Delivered,
    Failed,
    Played,
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

/// A failure that a fault asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: u32,
    /// It follows `sent`, and does not take its place.
    pub(crate) after_sent: bool,
}

/// When a message arrives, is read, and is played.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    delivered: Duration,
    read: Duration,
    played: Duration,
}

// === impl Word ===

impl Word {
    /// The word in a webhook.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Played => "played",
            Self::Read => "read",
            Self::Sent => "sent",
        }
    }
}

// === impl Arrival ===

impl Arrival {
    fn draw(sent: Duration, settings: &Settings, random: &mut StdRng) -> Self {
        let delivered = sent + settings.delivered_ms.draw(random);
        let read = delivered + settings.read_ms.draw(random);
        Self {
            delivered,
            read,
            played: read + settings.read_ms.draw(random),
        }
    }

    fn steps(self, message: &Message, settings: &Settings) -> Vec<Step> {
        let user = &message.user;
        let delivered = priced(step(self.delivered, Word::Delivered));
        if !settings.reads || !user.read_receipts {
            return vec![delivered];
        }
        // On an open chat nothing is delivered first.
        let mut steps = if user.chat_open {
            vec![priced(step(self.delivered, Word::Read))]
        } else {
            vec![delivered, step(self.read, Word::Read)]
        };
        if message.is_voice {
            steps.push(step(self.played, Word::Played));
        }
        steps
    }
}

/// Plans the statuses of an accepted message, in order.
///
/// `ordered` is the failure that a fault asks for.
pub(crate) fn plan(
    message: &Message,
    settings: &Settings,
    ordered: Option<Failure>,
    random: &mut StdRng,
) -> Vec<Step> {
    // All are drawn each time, so that one switch of a user moves no other delay.
    let sent = settings.sent_ms.draw(random);
    let arrival = Arrival::draw(sent, settings, random);
    let failure = ordered.or_else(|| {
        failure(message, settings).map(|code| Failure {
            code,
            after_sent: false,
        })
    });
    let mut steps = vec![priced(step(sent, Word::Sent))];
    if let Some(failure) = failure {
        let failed = |at| Step {
            error: Some(failure.code),
            ..step(at, Word::Failed)
        };
        if failure.after_sent {
            steps.push(failed(arrival.delivered));
            return steps;
        }
        return vec![failed(sent)];
    }
    if !message.user.blocked && message.user.online {
        steps.extend(arrival.steps(message, settings));
    }
    steps
}

/// Plans the statuses of a message whose user was offline and is back, from now on.
pub(crate) fn arrive(message: &Message, settings: &Settings, random: &mut StdRng) -> Vec<Step> {
    Arrival::draw(Duration::ZERO, settings, random).steps(message, settings)
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
    } else if is_marketing && message.user.marketing_capped {
        Some(131049)
    } else if is_marketing && message.user.in_experiment {
        Some(130472)
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
