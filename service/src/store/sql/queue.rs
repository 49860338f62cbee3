//! Sending: who may go next, and the attempt that is written before it is made.

use std::collections::BTreeMap;
use std::time::Duration;

use vestibule::clock::Timestamp;

use super::held::Held;
use super::hold::{self, Gate};
use super::many::many;
use super::row::window as window_in;
use super::{Row, Sql, args, attempt, service_state, shape};
use crate::delivery::shaper::Pair;
use crate::delivery::{Departure, Line, may_depart};
use crate::message::{Content, Failure, Kind};
use crate::metrics::At;
use crate::recipient::PhoneNumber;
use crate::store::Settings;
use crate::window::{self, DISPATCH_MARGIN, Knowledge, Verdict, Window};

/// Who takes messages, and when.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Taker<'a> {
    pub(in crate::store) settings: &'a Settings,
    pub(in crate::store) owner: &'a str,
    pub(in crate::store) now: Timestamp,
}

/// A due message, as far as sending it needs to know it.
struct Waiting {
    held: Held,
    to: PhoneNumber,
    kind: Kind,
    content: Content,
    window: Option<Window>,
    pair: Option<Pair>,
}

/// What is to be done with a due message.
enum Turn {
    Depart(Pair),
    GiveUp(Failure),
    PutOff(Timestamp),
}

/// When the next message may leave: it is due, nothing holds its number, and its number may
/// send again.
pub(in crate::store) async fn next_due(
    sql: &mut Sql<'_>,
    settings: &Settings,
    now: Timestamp,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let holds = hold::all(sql).await?;
    let mut next = None::<Timestamp>;
    for (number, due) in numbers(sql).await? {
        let line = settings.lines.line(&number);
        let names = line.names();
        let mut at = due.max(shape::opens_at(sql, &line, now).await?);
        let mut is_shut = false;
        for hold in holds.iter().filter(|hold| names.contains(&hold.scope)) {
            match hold.until {
                Some(until) => at = at.max(until),
                None => is_shut = true,
            }
        }
        if !is_shut {
            next = Some(next.map_or(at, |next| next.min(at)));
        }
    }
    Ok(next)
}

/// Takes up to so many due messages: the attempt at each is recorded (T2), and those that
/// may not be sent any more have failed (T16).
pub(in crate::store) async fn take(
    sql: &mut Sql<'_>,
    taker: Taker<'_>,
    max: usize,
) -> Result<Vec<Departure>, sqlx::Error> {
    let mut departures = Vec::new();
    let mut numbers = numbers(sql).await?;
    numbers.retain(|(_, due)| *due <= taker.now);
    if numbers.is_empty() {
        return Ok(departures);
    }
    let knowledge = service_state::knowledge(sql).await?;
    for (number, _) in numbers {
        let room = max - departures.len();
        if room > 0 {
            let line = taker.settings.lines.line(&number);
            from_number(sql, taker, &line, knowledge, room, &mut departures).await?;
        }
    }
    Ok(departures)
}

/// Each number for which messages wait, and when its first one is due. It steps from number
/// to number in the index, however many messages there are.
async fn numbers(sql: &mut Sql<'_>) -> Result<Vec<(String, Timestamp)>, sqlx::Error> {
    let rows = sql
        .all(
            "WITH RECURSIVE number (id) AS (
                 SELECT MIN(phone_number_id) FROM message WHERE not_before IS NOT NULL
                 UNION ALL
                 SELECT (SELECT MIN(phone_number_id) FROM message
                         WHERE not_before IS NOT NULL AND phone_number_id > number.id)
                 FROM number WHERE number.id IS NOT NULL)
             SELECT id, (SELECT MIN(not_before) FROM message
                         WHERE not_before IS NOT NULL AND phone_number_id = number.id) AS due
             FROM number WHERE id IS NOT NULL",
            args![],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.get("id")?, row.get("due")?)))
        .collect()
}

async fn from_number(
    sql: &mut Sql<'_>,
    taker: Taker<'_>,
    line: &Line,
    knowledge: Knowledge,
    room: usize,
    departures: &mut Vec<Departure>,
) -> Result<(), sqlx::Error> {
    // Whoever has the row takes for this number; another replica is at it already.
    let Some(mut number) = shape::lock_number(sql, line, taker.now).await? else {
        return Ok(());
    };
    let room = match hold::pass(sql, line, taker.now).await? {
        Gate::Open => room,
        Gate::Probe => 1,
        Gate::Shut => return Ok(()),
    };
    let room = number.room(taker.now, room);
    if room == 0 {
        return tell_of_wait(sql, taker, line).await;
    }
    let (mut leaving, mut changed, mut pairs) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut is_too_fast = false;
    for row in due(sql, line, taker.now, room + PUT_OFF_MAX).await? {
        is_too_fast = !number.may_depart(taker.now);
        if leaving.len() == room || is_too_fast {
            break;
        }
        let mut waiting = Waiting::read(&row)?;
        if let Some(pair) = pairs.get(waiting.to.digits()) {
            waiting.pair = Some(*pair);
        }
        match waiting.turn(sql, taker, line, knowledge).await? {
            Turn::Depart(pair) => {
                number.depart(taker.now);
                pairs.insert(waiting.to.digits().into(), pair);
                let (departure, held) = waiting.depart(taker, line.clone());
                leaving.push(departure);
                changed.push(held);
            }
            Turn::GiveUp(failure) => {
                waiting.held.progress.give_up(failure, taker.now);
                changed.push(waiting.held);
            }
            Turn::PutOff(until) => {
                waiting.held.progress.put_off(until);
                changed.push(waiting.held);
            }
        }
    }
    let lease_until = taker.now + taker.settings.lease;
    attempt::record(sql, taker.owner, lease_until, &leaving).await?;
    Held::save_all(sql, &changed, taker.now).await?;
    shape::keep_pairs(sql, &line.phone_number_id, &pairs).await?;
    number.keep(sql, line).await?;
    departures.append(&mut leaving);
    match is_too_fast {
        true => tell_of_wait(sql, taker, line).await,
        false => Ok(()),
    }
}

/// Counts that messages wait because their number may not send faster.
async fn tell_of_wait(sql: &mut Sql<'_>, taker: Taker<'_>, line: &Line) -> Result<(), sqlx::Error> {
    let opens_at = shape::opens_at(sql, line, taker.now).await?;
    let wait = opens_at.since(taker.now);
    taker.settings.metrics.shaped("number", wait);
    Ok(())
}

/// The messages of a number that are due, each with the window of its customer and what the
/// customer was sent.
async fn due(
    sql: &mut Sql<'_>,
    line: &Line,
    now: Timestamp,
    max: usize,
) -> Result<Vec<Row>, sqlx::Error> {
    sql.all(
        many!(
            "SELECT " MESSAGE ", kind, content, opened_at, refused_at, tat, burst_start, burst_n
             FROM message
             LEFT JOIN alias ON alias.phone_number_id = message.phone_number_id
                            AND alias.name = SUBSTR(message.recipient, 2)
             LEFT JOIN customer_window
                 ON customer_window.phone_number_id = alias.phone_number_id
                AND customer_window.user_key = alias.user_key
             LEFT JOIN pair_shape ON pair_shape.phone_number_id = message.phone_number_id
                                 AND pair_shape.recipient = SUBSTR(message.recipient, 2)
             WHERE message.phone_number_id = $1 AND not_before <= $2
             ORDER BY not_before LIMIT $3" SKIP_LOCKED
        ),
        args![&*line.phone_number_id, now, max],
    )
    .await
}

// === impl Waiting ===

impl Waiting {
    fn read(row: &Row) -> Result<Self, sqlx::Error> {
        let content: String = row.get("content")?;
        let is_known = row.maybe::<Timestamp>("opened_at")?.is_some();
        Ok(Self {
            held: Held::read(row)?,
            to: row.get("recipient")?,
            kind: row.get("kind")?,
            content: serde_json::from_str(&content)
                .map_err(|cause| sqlx::Error::Decode(cause.into()))?,
            window: is_known.then(|| window_in(row)).transpose()?,
            pair: shape::pair(row)?,
        })
    }

    /// Looks at everything once more: the message may have waited.
    async fn turn(
        &self,
        sql: &mut Sql<'_>,
        taker: Taker<'_>,
        line: &Line,
        knowledge: Knowledge,
    ) -> Result<Turn, sqlx::Error> {
        let now = taker.now;
        let verdict = window::judge(self.window, knowledge, now, DISPATCH_MARGIN);
        let metrics = &taker.settings.metrics;
        if self.kind == Kind::Text {
            metrics.window(At::Dispatch, verdict);
        }
        if let Err(failure) = may_depart(self.kind, verdict, taker.settings.allows_unknown_window) {
            return Ok(Turn::GiveUp(failure));
        }
        if self.held.in_order && self.has_others_before(sql, now).await? {
            return Ok(Turn::PutOff(now + ORDER_LOOK));
        }
        match Pair::depart(self.pair, line.burst, now) {
            Ok(pair) => Ok(Turn::Depart(pair)),
            Err(until) => {
                metrics.shaped("pair", until.since(now));
                Ok(Turn::PutOff(until))
            }
        }
    }

    /// Whether a message that was to arrive before this one has not. One that Meta has had
    /// for a while does not hold up the others: word of its arrival may never come.
    async fn has_others_before(
        &self,
        sql: &mut Sql<'_>,
        now: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let since = now.as_unix_millis().saturating_sub(ORDER_WAIT_MILLIS);
        let row = sql
            .optional(
                "SELECT id FROM message
                 WHERE phone_number_id = $1 AND recipient = $2 AND in_order = 1 AND id < $3
                   AND (state IN ('queued', 'retry_wait', 'blocked', 'dispatching', 'uncertain')
                        OR (state IN ('submitted', 'sent') AND sent_at > $4))
                 LIMIT 1",
                args![
                    &*self.held.phone_number_id,
                    &*self.held.recipient,
                    &self.held.id,
                    since,
                ],
            )
            .await?;
        Ok(row.is_some())
    }

    /// The attempt that is now to be recorded, and the message that it leaves behind.
    fn depart(mut self, taker: Taker<'_>, line: Line) -> (Departure, Held) {
        let (id, now) = (self.held.id, taker.now);
        let attempt = self.held.progress.depart();
        let token_key = &taker.settings.token_key;
        let token = token_key.mint(id, attempt, &line.phone_number_id);
        let departure = Departure {
            message: id,
            attempt,
            refusals: self.held.progress.refusals,
            began: now,
            token,
            line,
            to: self.to,
            content: self.content,
            is_well_inside: self.window.is_some_and(|window| {
                matches!(
                    window::judge(Some(window), Knowledge::default(), now, WELL_INSIDE),
                    Verdict::Open { .. }
                )
            }),
            correlation_id: self.held.correlation_id.clone(),
            traceparent: self.held.traceparent.clone(),
        };
        (departure, self.held)
    }
}

/// How many messages wait to be sent.
pub(in crate::store) async fn waiting(sql: &mut Sql<'_>) -> Result<u64, sqlx::Error> {
    let row = sql
        .optional(
            "SELECT COUNT(*) AS waiting FROM message WHERE not_before IS NOT NULL",
            args![],
        )
        .await?;
    row.map_or(Ok(0), |row| row.get("waiting"))
}

/// How many messages in a row are looked at that cannot leave yet.
const PUT_OFF_MAX: usize = 64;

/// When the turn of a message is looked at again, where nobody told that it has come.
const ORDER_LOOK: Duration = Duration::from_secs(30);

/// Ten minutes: a phone that is on has got its message by then.
const ORDER_WAIT_MILLIS: u64 = 10 * 60 * 1000;

/// A window that closes within minutes may have closed at Meta already.
const WELL_INSIDE: Duration = Duration::from_secs(5 * 60);
