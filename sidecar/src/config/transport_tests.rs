//! What is read about connections on either side, and the exact words of each refusal.

use super::*;

#[test]
fn reads_what_is_said_about_connections() {
    let config = parse(
        "upstream = ['https://[::1]:9443', 'unix:/run/pod/app.sock']
         store = 'redis://redis:6379'
         upgrade_sock = '/run/pod/upgrade.sock'
         trusted_proxies = ['10.0.0.0/8', '::1', 'unix']
         trusted_field = 'forwarded'
         upstream_http2 = true
         [tls]
         certificate = 'tls.crt'
         key = '/run/secrets/tls.key'
         client_ca = 'clients.crt'
         [upstream_tls]
         ca = 'ca.crt'
         certificate = 'mine.crt'
         key = 'mine.key'
         server_name = 'app.internal'
         [health]
         path = '/readyz'
         interval = '1s'
         failures = 5",
    )
    .unwrap();
    assert_eq!(config.upstream.to_string(), "https://[::1]:9443");
    assert_eq!(
        config.more_upstreams,
        [Target::Unix("/run/pod/app.sock".into())]
    );
    assert_eq!(config.upgrade_sock, Some("/run/pod/upgrade.sock".into()));
    assert!(config.proxies.unix && config.proxies.networks.len() == 2);
    assert_eq!(config.proxies.field, TrustedField::Forwarded);
    assert_eq!(config.upstream_http2, Some(true));
    let tls = config.tls.unwrap();
    assert_eq!(tls.certificate, PathBuf::from("etc/tls.crt"));
    assert_eq!(tls.key, PathBuf::from("/run/secrets/tls.key"));
    assert_eq!(tls.client_ca, Some("etc/clients.crt".into()));
    assert_eq!(tls.place.to_string(), "etc/vestibule.toml:8");
    let tls = config.upstream_tls.unwrap();
    assert_eq!(
        tls.identity,
        Some(("etc/mine.crt".into(), "etc/mine.key".into()))
    );
    assert_eq!(tls.server_name.as_deref(), Some("app.internal"));
    assert_eq!(config.health.path.as_deref(), Some("/readyz"));
    assert_eq!(
        (config.health.interval.as_secs(), config.health.failures),
        (1, 5)
    );
}

#[test]
fn nothing_is_encrypted_or_believed_unless_it_is_said() {
    let config = parse("upstream = 'http://app:9000'").unwrap();
    assert_eq!((config.tls, config.upstream_tls), (None, None));
    assert_eq!((config.upgrade_sock, config.upstream_http2), (None, None));
    assert_eq!(config.proxies, Proxies::default());
    assert!(config.more_upstreams.is_empty() && config.health == Health::default());
}

#[test]
fn a_fault_is_named_where_it_stands() {
    for (added, want) in [
        (
            "upstream = []",
            "c.toml:2: upstream = []: expected a service like \"127.0.0.1:9000\", \"http://app:9000\", \"https://app:9443\" or \"unix:/run/pod/app.sock\"",
        ),
        (
            "upstream = ['127.0.0.1:1', 'app']",
            "c.toml:2: upstream = ['127.0.0.1:1', 'app']: expected a service like \"127.0.0.1:9000\", \"http://app:9000\", \"https://app:9443\" or \"unix:/run/pod/app.sock\"",
        ),
        (
            "upstream = 'https://app:9443'",
            "c.toml:1: [upstream_tls]: 'ca' is missing; expected a PEM file of the authorities of the upstream",
        ),
        (
            "upstream = 'https://app:9443'\n[upstream_tls]\nca = 'ca.crt'\nkey = 'mine.key'",
            "c.toml:3: [upstream_tls]: 'certificate' is missing; expected the path of a PEM file",
        ),
        (
            "upstream = 'https://app:9443'\n[upstream_tls]\nca = 'ca.crt'\nserver_name = 'a b'",
            "c.toml:5: [upstream_tls] server_name = 'a b': expected a name like \"app.internal\", or an IP address",
        ),
        (
            "upstream = 'app:9000'\n[upstream_tls]\nca = 'ca.crt'",
            "c.toml:3: [upstream_tls]: there is no https:// in 'upstream' for it",
        ),
        (
            "upstream = 'app:9000'\n[health]\npath = '/readyz'",
            "c.toml:3: [health]: there is one 'upstream' alone, which is never left out",
        ),
        (
            "upstream = ['app:9000', 'app:9001']\n[health]\npath = 'readyz'",
            "c.toml:4: [health] path = 'readyz': expected a path like \"/readyz\"",
        ),
        (
            "upstream = 'app:9000'\n[tls]\nkey = 'tls.key'",
            "c.toml:3: [tls]: 'certificate' is missing; expected the path of a PEM file",
        ),
        (
            "upstream = 'app:9000'\n[tls]\ncertificate = 'tls.crt'",
            "c.toml:3: [tls]: 'key' is missing; expected the path of a PEM file",
        ),
        (
            "upstream = 'app:9000'\ntrusted_proxies = ['10.0.0.1/8']",
            "c.toml:3: trusted_proxies = ['10.0.0.1/8']: expected a network like \"10.0.0.0/8\" or \"2001:db8::/32\", an address, \"unix\", or a list of them",
        ),
        (
            "upstream = 'app:9000'\ntrusted_field = 'via'",
            "c.toml:3: trusted_field = 'via': expected \"x-forwarded-for\" or \"forwarded\"",
        ),
        (
            "upstream = 'app:9000'\nupgrade_sock = 'up.sock'\nstore = 'file:s'",
            "c.toml:3: upgrade_sock = 'up.sock': expected a store that two processes may share, redis:// or postgres://, and not \"file:s\"",
        ),
    ] {
        let fault = parse_as("c.toml", added).unwrap_err();
        assert_eq!(fault.to_string(), want, "{added}");
    }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_as("etc/vestibule.toml", text)
}

fn parse_as(file: &str, text: &str) -> Result<Config, ConfigError> {
    let route = "[[route]]\nmatch = 'GET /'";
    Config::parse(file, &format!("listen = '127.0.0.1:0'\n{text}\n{route}"))
}
