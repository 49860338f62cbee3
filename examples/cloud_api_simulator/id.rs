//! Ids that look like Meta's: message ids, trace ids and user ids, each a function of the seed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};

/// Where all randomness of a run comes from.
///
/// Each drawing has its own generator, named by a purpose and a number. So the delays of
/// the third message are the same in every run of one seed, whatever was drawn before
/// or beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    seed: u64,
    /// Counts the resets, so that an id that a client has kept is never minted again.
    epoch: u64,
}

/// What is drawn. The order is part of what a seed means: new ones go to the end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Challenge,
    Delays,
    Inbound,
    Outbound,
    Trace,
    Fault,
    Latency,
    Webhook,
    Delivery,
    Call,
}

/// Which way a message goes; it shows in its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Inbound,
    Outbound,
}

// === impl Seed ===

impl Seed {
    /// The generators of this seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, epoch: 0 }
    }

    /// The same seed after a reset.
    pub(crate) const fn next_epoch(self) -> Self {
        Self {
            seed: self.seed,
            epoch: self.epoch + 1,
        }
    }

    /// The number that repeats the run.
    pub(crate) const fn number(self) -> u64 {
        self.seed
    }

    /// How many resets there were.
    pub(crate) const fn epoch(self) -> u64 {
        self.epoch
    }

    /// The generator of one drawing.
    pub(crate) fn generator(self, purpose: Purpose, number: u64) -> StdRng {
        let mut hash = Sha256::new();
        for part in [self.seed, self.epoch, purpose as u64, number] {
            hash.update(part.to_be_bytes());
        }
        StdRng::from_seed(hash.finalize().into())
    }
}

/// Mints a message id: the parts that published ids decode to, around random hex.
pub(crate) fn wamid(user_digits: &str, direction: Direction, random: &mut StdRng) -> String {
    let (kind, hex_len) = match direction {
        Direction::Outbound => (0x11, 18),
        Direction::Inbound => (0x12, 20),
    };
    let user = &user_digits.as_bytes()[..user_digits.len().min(MAX_USER_DIGITS)];
    let mut bytes = vec![0x1C, 0x18, length_byte(user)];
    bytes.extend_from_slice(user);
    bytes.extend_from_slice(&[0x15, 0x02, 0x00, kind, 0x18]);
    let id = upper_hex(hex_len, random);
    bytes.push(length_byte(id.as_bytes()));
    bytes.extend_from_slice(id.as_bytes());
    bytes.push(0x00);
    format!("wamid.{}", STANDARD.encode(bytes))
}

/// Mints the id of a call; Meta's start alike.
pub(crate) fn wacid(user_digits: &str, random: &mut StdRng) -> String {
    let id = wamid(user_digits, Direction::Inbound, random);
    id.replacen("wamid", "wacid", 1)
}

/// Mints a trace id: `A` and 22 symbols of URL-safe base64.
pub(crate) fn fbtrace_id(random: &mut StdRng) -> String {
    let mut id = String::from("A");
    for _ in 0..22 {
        id.push(char::from(URL_SAFE[random.random_range(0..URL_SAFE.len())]));
    }
    id
}

/// The user id of somebody whom the world does not name: always the same for a number.
pub(crate) fn bsuid(wa_id: &str) -> String {
    let digest = Sha256::digest(wa_id);
    let number = digest[..8]
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("US.{number:020}")
}

fn upper_hex(len: usize, random: &mut StdRng) -> String {
    (0..len)
        .map(|_| char::from(UPPER_HEX[random.random_range(0..UPPER_HEX.len())]))
        .collect()
}

fn length_byte(part: &[u8]) -> u8 {
    u8::try_from(part.len()).expect("parts of an id are shorter than 256 bytes")
}

/// With more the id would pass 128 characters, the longest that Meta documents.
const MAX_USER_DIGITS: usize = 32;

const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";

const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_decodes_to_the_published_layout() {
        for (user, direction, kind, hex_len) in [
            ("16505551234", Direction::Outbound, 0x11, 18),
            ("16505551234", Direction::Inbound, 0x12, 20),
            ("", Direction::Outbound, 0x11, 18),
        ] {
            let id = wamid(user, direction, &mut generator(1));
            let bytes = STANDARD.decode(id.strip_prefix("wamid.").unwrap()).unwrap();
            let (head, rest) = bytes.split_at(3 + user.len());
            assert_eq!(head[..2], [0x1C, 0x18], "{user} {direction:?}");
            assert_eq!(usize::from(head[2]), user.len());
            assert_eq!(&head[3..], user.as_bytes());
            assert_eq!(rest[..5], [0x15, 0x02, 0x00, kind, 0x18]);
            assert_eq!(usize::from(rest[5]), hex_len);
            let (hex, end) = rest[6..].split_at(hex_len);
            assert!(hex.iter().all(|digit| UPPER_HEX.contains(digit)));
            assert_eq!(end, [0x00]);
        }
    }

    #[test]
    fn a_message_id_starts_as_published_ones_do_and_stays_in_bounds() {
        let id = wamid("16505551234", Direction::Outbound, &mut generator(1));
        assert!(id.starts_with("wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI"), "{id}");
        let longest = wamid(&"9".repeat(200), Direction::Inbound, &mut generator(1));
        assert!(longest.len() <= 128, "{}", longest.len());
    }

    #[test]
    fn one_seed_repeats_a_run_and_a_reset_mints_new_ids() {
        let mint = |seed: Seed, number| {
            let mut random = seed.generator(Purpose::Outbound, number);
            wamid("1", Direction::Outbound, &mut random)
        };
        let seed = Seed::new(7);
        assert_eq!(mint(seed, 1), mint(Seed::new(7), 1));
        assert_ne!(mint(seed, 1), mint(seed, 2));
        assert_ne!(mint(seed, 1), mint(Seed::new(8), 1));
        assert_ne!(mint(seed, 1), mint(seed.next_epoch(), 1));
    }

    #[test]
    fn a_trace_id_has_the_published_shape() {
        let id = fbtrace_id(&mut generator(1));
        assert_eq!((id.len(), &id[..1]), (23, "A"));
        assert!(id.bytes().all(|symbol| URL_SAFE.contains(&symbol)), "{id}");
    }

    #[test]
    fn an_unnamed_user_keeps_one_id() {
        assert_eq!(bsuid("16505551234"), bsuid("16505551234"));
        assert_ne!(bsuid("16505551234"), bsuid("16505551235"));
        assert_eq!(bsuid("1").len(), 23);
    }

    fn generator(seed: u64) -> StdRng {
        Seed::new(seed).generator(Purpose::Outbound, 0)
    }
}
