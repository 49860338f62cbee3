//! The scripts, one a step, put together from the files beside this one.

/// A step at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Charge a request.
    Hit,
    /// Claim a key.
    Claim,
    /// Both at once.
    Admit,
    /// Look what a charge would be answered.
    PeekHit,
    /// Look what a claim would be answered.
    PeekClaim,
    /// Extend a lease.
    Renew,
    /// Keep a response.
    Keep,
    /// End a claim without a response.
    Finish,
    /// Take a claim back.
    Release,
    /// Change key records.
    WriteKeys,
    /// Note when keys were seen.
    TouchKeys,
    /// Enter a key under its id.
    EnterKey,
}

// === impl Step ===

impl Step {
    /// All of them, in the order of their discriminants.
    pub(super) const ALL: [Self; 12] = [
        Self::Hit,
        Self::Claim,
        Self::Admit,
        Self::PeekHit,
        Self::PeekClaim,
        Self::Renew,
        Self::Keep,
        Self::Finish,
        Self::Release,
        Self::WriteKeys,
        Self::TouchKeys,
        Self::EnterKey,
    ];

    /// Whether a key may be executed a second time, or be good again, where it is lost.
    pub(super) const fn is_confirmed(self) -> bool {
        matches!(
            self,
            Self::Claim | Self::Admit | Self::Keep | Self::Finish | Self::WriteKeys
        )
    }

    /// The text that the server runs.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Hit => HIT,
            Self::Claim => CLAIM,
            Self::Admit => ADMIT,
            Self::PeekHit => PEEK_HIT,
            Self::PeekClaim => PEEK_CLAIM,
            Self::Renew => RENEW,
            Self::Keep => KEEP,
            Self::Finish => FINISH,
            Self::Release => RELEASE,
            Self::WriteKeys => WRITE_KEYS,
            Self::TouchKeys => TOUCH_KEYS,
            Self::EnterKey => ENTER_KEY,
        }
    }
}

/// What ends a claim or holds it is written even where a server is out of memory: it
/// changes a few bytes of what is there.
macro_rules! allow_oom {
    () => {
        "#!lua flags=allow-oom\n"
    };
}

/// What looks writes nothing, and the server sees to it.
macro_rules! no_writes {
    () => {
        "#!lua flags=no-writes\n"
    };
}

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("scripts/", $name, ".lua"))
    };
}

const HIT: &str = concat!(file!("clock"), file!("keys"), file!("judge"), file!("hit"));

const CLAIM: &str = concat!(
    file!("clock"),
    file!("index"),
    file!("decide"),
    file!("claim")
);

const ADMIT: &str = concat!(
    file!("clock"),
    file!("keys"),
    file!("judge"),
    file!("index"),
    file!("decide"),
    file!("admit"),
);

const PEEK_HIT: &str = concat!(
    no_writes!(),
    file!("peek"),
    file!("clock"),
    file!("keys"),
    file!("judge"),
    file!("hit")
);

const PEEK_CLAIM: &str = concat!(
    no_writes!(),
    file!("peek"),
    file!("clock"),
    file!("index"),
    file!("decide"),
    file!("peek_claim")
);

const RENEW: &str = concat!(allow_oom!(), file!("clock"), file!("index"), file!("renew"));

const KEEP: &str = concat!(file!("clock"), file!("index"), file!("finish"));

const FINISH: &str = concat!(
    allow_oom!(),
    file!("clock"),
    file!("index"),
    file!("finish")
);

const RELEASE: &str = concat!(file!("release"));

const WRITE_KEYS: &str = concat!(file!("write_keys"));

const TOUCH_KEYS: &str = concat!(file!("touch_keys"));

const ENTER_KEY: &str = concat!(file!("enter_key"));
