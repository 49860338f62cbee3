//! `keys export`: every record on a line of its own, as `import` takes it.

use vestibule::api_key::KeyStore;

use super::fault::Fault;
use super::place::each_page;

/// The records as JSON Lines: digests, never secrets, which nobody has.
///
/// # Errors
///
/// [`Fault`] where the store does not answer.
pub async fn export(keys: &impl KeyStore) -> Result<String, Fault> {
    let mut text = String::new();
    each_page(keys, |page| {
        text.extend(page.iter().map(|record| format!("{}\n", record.to_json())));
    })
    .await?;
    Ok(text)
}
