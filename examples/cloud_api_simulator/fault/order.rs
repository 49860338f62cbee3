//! Reading an order for a fault.

use serde_json::{Map, Value};
use vestibule::clock::Timestamp;

use super::{Effect, Fault, Stage};
use crate::ledger::without_punctuation;

// === impl Fault ===

impl Fault {
    /// Reads an order: `fault` and its own fields, then whom it strikes and how often.
    ///
    /// # Errors
    ///
    /// A sentence that names what is wrong.
    pub(crate) fn parse(mut order: Map<String, Value>, now: Timestamp) -> Result<Self, String> {
        let times = times(order.remove("times").as_ref())?;
        let pnid = text(&mut order, "pnid")?;
        let to = text(&mut order, "to")?.map(|to| without_punctuation(&to));
        let kind = text(&mut order, "type")?;
        let nth = whole(&mut order, "nth")?.unwrap_or(1);
        let probability = probability(order.remove("probability").as_ref())?;
        let seed = whole(&mut order, "seed")?;
        let effect: Effect =
            serde_json::from_value(Value::Object(order)).map_err(|error| error.to_string())?;
        effect.check()?;
        let fault = Self {
            effect,
            times,
            pnid,
            to,
            kind,
            nth,
            probability,
            seed,
            number: 0,
            seen: 0,
            ordered_at: now,
        };
        fault.must_be_knowable()?;
        Ok(fault)
    }

    /// Whether nobody listens while it stands.
    pub(crate) const fn closes_the_door(&self) -> bool {
        matches!(self.effect, Effect::RefuseConnect { .. })
    }

    /// Refuses conditions on what is not known where the fault strikes.
    fn must_be_knowable(&self) -> Result<(), String> {
        let stage = self.effect.stage();
        let is_early = matches!(stage, Stage::Accept | Stage::Read)
            || matches!(self.effect, Effect::RefuseConnect { .. });
        let is_bodiless = matches!(stage, Stage::Head | Stage::Standing | Stage::Scheduled);
        let (key, value) = match self {
            Self {
                pnid: Some(pnid), ..
            } if is_early => ("pnid", pnid),
            Self { to: Some(to), .. } if is_early || is_bodiless => ("to", to),
            Self {
                kind: Some(kind), ..
            } if is_early || is_bodiless => ("type", kind),
            _ => return Ok(()),
        };
        Err(format!(
            "{key} = {value:?}: not known where this fault strikes"
        ))
    }
}

/// Once where it is absent, for ever where it is null or 0.
fn times(times: Option<&Value>) -> Result<Option<u32>, String> {
    match times {
        None => Ok(Some(1)),
        Some(Value::Null) => Ok(None),
        Some(times) => {
            let number = times.as_u64().and_then(|times| u32::try_from(times).ok());
            let number = number.ok_or_else(|| format!("times = {times}: not a whole number"))?;
            Ok((number > 0).then_some(number))
        }
    }
}

fn probability(probability: Option<&Value>) -> Result<Option<f64>, String> {
    match probability {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(share) if (0.0..=1.0).contains(&share) => Ok(Some(share)),
            _ => Err(format!("probability = {value}: not between 0 and 1")),
        },
    }
}

fn whole(order: &mut Map<String, Value>, key: &str) -> Result<Option<u64>, String> {
    match order.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_u64();
            number
                .map(Some)
                .ok_or_else(|| format!("{key} = {value}: not a whole number"))
        }
    }
}

fn text(order: &mut Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match order.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{key} = {other}: not a string")),
    }
}
