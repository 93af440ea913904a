//! Tests of the layers and of `default.toml` against the sections.

use std::path::PathBuf;

use figment::Provider;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use tempfile::TempDir;

use super::fault::{Fault, Source};
use super::keys::KmsKind;
use super::logging::{LogFormat, LogLevel};
use super::phone::Renumbering;
use super::*;

/// Loads with `toml` as the file of `--config` and these variables.
fn load(toml: &str, env: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("given.toml");
    std::fs::write(&file, toml).unwrap();
    let env = env.iter().map(|(name, text)| (name.into(), text.into()));
    Config::load_from(folder.path(), Some(&file), env)
}

fn faults(toml: &str, env: &[(&str, &str)]) -> Vec<Fault> {
    load(toml, env).unwrap_err().faults().to_vec()
}

/// The only fault, as (path, problem, allowed).
fn fault(toml: &str, env: &[(&str, &str)]) -> (String, String, String) {
    let faults = faults(toml, env);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    let Fault { path, problem, allowed, .. } = faults[0].clone();
    (path, problem, allowed)
}

fn paths(faults: &[Fault]) -> Vec<&str> {
    faults.iter().map(|fault| fault.path.as_str()).collect()
}

fn default_tree() -> Dict {
    Toml::string(DEFAULT_TOML).data().unwrap().into_values().next().unwrap()
}

/// Every setting of `default.toml`: its path, its value, the comment above it.
fn settings() -> Vec<(String, Value, String)> {
    let tree = default_tree();
    let mut found = Vec::new();
    let (mut section, mut comment) = (String::new(), String::new());
    for line in DEFAULT_TOML.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
        } else if let Some(name) = line.strip_prefix('[') {
            assert!(!comment.is_empty(), "section {line} has no comment");
            section = name.trim_end_matches(']').to_owned();
            comment.clear();
        } else if let Some((key, _)) = line.split_once(" = ") {
            let value = section_of(&tree, &section)[key].clone();
            found.push((format!("{section}.{key}"), value, std::mem::take(&mut comment)));
        } else {
            comment.clear();
        }
    }
    let all: usize = tree.values().map(leaves).sum();
    assert_eq!(found.len(), all, "default.toml is not written one setting a line");
    found
}

/// The section with this path.
fn section_of<'a>(tree: &'a Dict, path: &str) -> &'a Dict {
    path.split('.').fold(tree, |section, name| section[name].as_dict().unwrap())
}

/// The settings of a section and of those within it.
fn leaves(value: &Value) -> usize {
    value.as_dict().map_or(1, |section| section.values().map(leaves).sum())
}

/// Takes the setting at a path out.
fn remove(tree: &mut Dict, path: &str) {
    match path.split_once('.') {
        Some((section, rest)) => {
            let Some(Value::Dict(_, keys)) = tree.get_mut(section) else { panic!("{section}") };
            remove(keys, rest);
        }
        None => drop(tree.remove(path).unwrap()),
    }
}

fn variable(path: &str) -> String {
    format!("{ENV_PREFIX}{}", path.replace('.', "__").to_uppercase())
}

#[test]
fn the_defaults_are_sound() {
    let config = Config::embedded().unwrap();
    config.validate().unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.operator_listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.http.body_limit_kib, 64);
    assert_eq!(config.node.data_dir, PathBuf::from("jcas-data"));
    assert_eq!((config.log.warn_percent, config.log.stop_percent), (80, 95));
    assert_eq!(config.state.cache_mib, 64);
    assert_eq!((config.hash.bcrypt_cost, config.hash.failure_quantum_ms), (10, 500));
    assert_eq!(config.keys.kms, KmsKind::Local);
    assert_eq!((config.logging.format, config.logging.level), (LogFormat::Text, LogLevel::Info));
}

#[test]
fn default_toml_sets_every_field_of_every_section() {
    // No field has a serde default, so reading the file alone shows that it is complete; each field
    // left out in turn shows that none has.
    for (path, _, _) in settings() {
        let mut tree = default_tree();
        remove(&mut tree, &path);
        assert!(Config::deserialize(&Value::from(tree)).is_err(), "{path} may be left out");
    }
    assert!(Config::deserialize(&Value::from(default_tree())).is_ok());
}

#[test]
fn every_setting_is_explained() {
    for (path, _, comment) in settings() {
        assert!(comment.len() > 20, "{path} is not explained");
    }
}

/// Law 7: everything is bounded. And the file says how.
#[test]
fn every_number_has_a_range_and_the_file_states_it() {
    for (path, value, comment) in settings() {
        if value.to_num().is_none() {
            continue;
        }
        for wrong in ["4294967295", "99999999999999999999", "-1", "0.5", "ten", ""] {
            let (at, problem, allowed) = fault("", &[(&variable(&path), wrong)]);
            assert_eq!(at, path);
            assert_eq!(problem.replace('"', ""), format!("found {wrong}"));
            let numbers: Vec<&str> = allowed.split(' ').take(3).collect();
            let range = numbers.join(" ");
            assert_eq!(numbers.get(1), Some(&"to"), "{path} has no range: {allowed}");
            assert!(comment.contains(&range), "default.toml does not say {range} at {path}");
        }
    }
}

#[test]
fn both_ends_of_a_range_are_in_it() {
    for (cost, is_right) in [("3", false), ("4", true), ("14", true), ("15", false)] {
        assert_eq!(load("", &[("JCAS__HASH__BCRYPT_COST", cost)]).is_ok(), is_right, "{cost}");
    }
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let toml = "[hash]\nbcrypt_cost = 11\nthreads = 3\n[node]\nname = 'a'";
    let env = [("JCAS__HASH__THREADS", "7"), ("JCAS_URL", "http://x"), ("HOME", "/")];
    let config = load(toml, &env).unwrap();
    assert_eq!((config.hash.bcrypt_cost, config.hash.threads), (11, 7));
    assert_eq!(config.hash.queue_jobs, Config::embedded().unwrap().hash.queue_jobs);
    assert_eq!(config.node.name.as_str(), "a");
}

#[test]
fn the_local_file_is_read_where_no_other_is_named() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(LOCAL_FILE), "node.name = 'local-file'").unwrap();
    let other = folder.path().join("other.toml");
    std::fs::write(&other, "node.region = 'north'").unwrap();
    let load = |file| Config::load_from(folder.path(), file, []).unwrap().node;
    assert_eq!(load(None).name.as_str(), "local-file");
    let named = load(Some(&other));
    assert_eq!((named.name.as_str(), named.region.as_str()), ("node-1", "north"));
}

#[test]
fn variables_take_every_kind_of_value() {
    let env = [
        ("JCAS__NODE__NAME", "7"),
        ("JCAS__NODE__DATA_DIR", "true"),
        ("JCAS__HTTP__BEHIND_PROXY", "true"),
        ("JCAS__HTTP__LISTEN", "[::]:80"),
        ("JCAS__LOGGING__FORMAT", "json"),
        ("JCAS__PHONE__RENUMBERINGS", r#"[{from = "229", to = "22901"}]"#),
    ];
    let config = load("", &env).unwrap();
    assert_eq!(config.node.name.as_str(), "7");
    assert_eq!(config.node.data_dir, PathBuf::from("true"));
    assert_eq!(config.http.listen.port(), 80);
    assert_eq!(config.logging.format, LogFormat::Json);
    let benin = Renumbering { from: "229".to_owned(), to: "22901".to_owned() };
    assert_eq!(config.phone.renumberings, [benin]);
}

#[test]
fn every_fault_is_named_at_once_with_its_source() {
    let toml = r#"
        colour = "blue"
        state = 3
        [http]
        listen = "localhost"
        body_limit_kib = 0
        client_request = 3
        [log]
        warn_percent = 90
        stop_percent = 85
        [keys]
        kms = "vault"
        [phone]
        renumberings = [
            5,
            { from = "+229", to = "22901" },
            { form = "1", to = 2 },
            { from = "33", to = "34" },
            { from = "33", to = "33" },
        ]
    "#;
    let env = [
        ("JCAS__HASH__BCRYPT_COST", "ten"),
        ("JCAS__HASH__THREADS", "-3"),
        ("JCAS__HTTP__BEHIND_PROXY", "yes"),
        ("JCAS__HTTP__OPERATOR_LISTEN", "0.0.0.0:1"),
        ("JCAS__LOGGING__LEVEL", ""),
        ("JCAS__NODE__NAME", "Node 1"),
    ];
    let faults = faults(toml, &env);
    let expected = [
        "colour",
        "hash.bcrypt_cost",
        "hash.threads",
        "http.behind_proxy",
        "http.body_limit_kib",
        "http.client_request",
        "http.listen",
        "keys.kms",
        "log.stop_percent",
        "logging.level",
        "node.name",
        "phone.renumberings.0",
        "phone.renumberings.1.from",
        "phone.renumberings.2.form",
        "phone.renumberings.2.from",
        "phone.renumberings.2.to",
        "phone.renumberings.4.from",
        "phone.renumberings.4.to",
        "state",
    ];
    assert_eq!(paths(&faults), expected, "{faults:#?}");
    for fault in &faults {
        let from_env = env.iter().any(|(name, _)| *name == variable(&fault.path));
        match &fault.source {
            Source::Environment(name) => assert_eq!(*name, variable(&fault.path)),
            source => assert!(matches!(source, Source::File(_)) && !from_env, "{fault}"),
        }
        assert!(!fault.problem.is_empty() && !fault.allowed.is_empty(), "{fault:?}");
    }
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    let cases = [
        ("[http]\nlisen = 'x'", "http.lisen", Some("listen")),
        ("[htttp]\nlisten = 'x'", "htttp", Some("http")),
        ("[http]\ncache_mib = 64", "http.cache_mib", Some("state.cache_mib")),
        ("[http]\ncolour = 1", "http.colour", None),
        ("[node.name]\nx = 1", "node.name", None),
    ];
    for (toml, path, meant) in cases {
        let (at, problem, _) = fault(toml, &[]);
        assert_eq!(at, path);
        match meant {
            Some(meant) => assert!(problem.ends_with(&format!("did you mean {meant}?"))),
            None => assert!(!problem.contains("did you mean"), "{problem}"),
        }
    }
    for name in ["JCAS__HTTP__LISEN", "JCAS__HTTP____LISTEN", "JCAS____HTTP__LISTEN", "JCAS__"] {
        assert_eq!(faults("", &[(name, "127.0.0.1:1")]).len(), 1, "{name}");
    }
}

#[test]
fn faults_read_well() {
    let env = [("JCAS__HASH__BCRYPT_COST", "99"), ("JCAS__LOGGING__LEVL", "info")];
    let text = load("", &env).unwrap_err().to_string();
    let expected = "2 settings are wrong\n  \
        hash.bcrypt_cost: found 99; allowed: 4 to 14 \
        (from environment variable JCAS__HASH__BCRYPT_COST)\n  \
        logging.levl: there is no such setting, did you mean level?; allowed: only format, level \
        (from environment variable JCAS__LOGGING__LEVL)";
    assert_eq!(text, expected);
}

#[test]
fn an_enumeration_is_not_taken_by_number() {
    let (_, problem, allowed) = fault("logging.format = 0", &[]);
    assert_eq!((problem.as_str(), allowed.as_str()), ("found 0", r#"a text, such as "text""#));
    let (_, _, allowed) = fault("logging.format = 'xml'", &[]);
    assert_eq!(allowed, "json, text");
}

#[test]
fn plain_http_stays_on_the_loopback_unless_behind_a_proxy() {
    for address in ["0.0.0.0:8080", "[::]:8080", "192.168.1.2:8080"] {
        let listen = [("JCAS__HTTP__LISTEN", address)];
        assert_eq!(fault("", &listen).0, "http.listen");
        load("http.behind_proxy = true", &listen).unwrap();
    }
    for address in ["127.0.0.2:1", "[::1]:0"] {
        load("", &[("JCAS__HTTP__LISTEN", address)]).unwrap();
    }
}

#[test]
fn with_a_certificate_companies_may_call_from_elsewhere_and_operators_may_not() {
    let tls = "[http.tls]\ncert_file = 'cert.pem'\nkey_file = 'key.pem'";
    let elsewhere = "0.0.0.0:8443";
    assert!(load(tls, &[("JCAS__HTTP__LISTEN", elsewhere)]).unwrap().http.tls.is_on());
    let operators = [("JCAS__HTTP__OPERATOR_LISTEN", elsewhere)];
    assert_eq!(fault(tls, &operators).0, "http.operator_listen");
    for (half, missing) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
        let toml = format!("[http.tls]\n{half} = 'a.pem'");
        assert_eq!(fault(&toml, &[]).0, format!("http.tls.{missing}"));
    }
}

#[test]
fn the_listeners_differ() {
    assert_eq!(fault("http.listen = '127.0.0.1:8081'", &[]).0, "http.operator_listen");
    let any = "[http]\nlisten = '127.0.0.1:0'\noperator_listen = '127.0.0.1:0'";
    load(any, &[]).unwrap();
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_other_faults() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing.toml");
    let env = || [("JCAS__HASH__BCRYPT_COST".into(), "1".into())];
    let error = Config::load_from(folder.path(), Some(&missing), env()).unwrap_err();
    assert_eq!(paths(error.faults()), ["", "hash.bcrypt_cost"]);
    assert_eq!(error.faults()[0].source, Source::File(missing));
    assert!(fault("[http", &[]).1.starts_with("is not TOML"));
}

#[test]
#[cfg(unix)]
fn variables_that_are_not_text_are_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let wrong = OsString::from_vec(vec![0xff]);
    let env = [("JCAS__NODE__NAME".into(), wrong.clone()), ("OTHER".into(), wrong)];
    let error = Config::load_from(Path::new(""), None, env).unwrap_err();
    assert_eq!(error.faults().len(), 1);
}

#[test]
fn a_changed_configuration_can_be_checked_again() {
    let mut config = Config::embedded().unwrap();
    config.hash.bcrypt_cost = 31;
    config.node.deployment = "_".to_owned();
    let error = config.validate().unwrap_err();
    assert_eq!(paths(error.faults()), ["hash.bcrypt_cost", "node.deployment"]);
    assert!(error.faults().iter().all(|fault| fault.source == Source::Program));
}

#[test]
fn what_is_wrong_with_master_keys_is_named() {
    let toml = r#"
        [keys]
        kms_pause_s = 9
        kms_pause_max_s = 8
        [keys.aws]
        regions = [
            { region = "eu", key = "k", aws_region = "eu-central-1", former = [""] },
            { region = "eu", key = "alias/k", aws_region = "", endpoint = "kms:443" },
        ]
    "#;
    let expected = [
        "keys.aws.regions.0.former",
        "keys.aws.regions.1.aws_region",
        "keys.aws.regions.1.endpoint",
        "keys.aws.regions.1.key",
        "keys.aws.regions.1.region",
        "keys.kms_pause_max_s",
    ];
    assert_eq!(paths(&faults(toml, &[])), expected);
    let aws = faults("keys.kms = 'aws'", &[]);
    let built_in = cfg!(feature = "aws");
    assert_eq!(paths(&aws).contains(&"keys.kms"), !built_in, "{aws:?}");
    assert!(paths(&aws).contains(&"keys.aws.regions"), "{aws:?}");
}

#[test]
fn no_setting_holds_a_secret() {
    for (path, _, _) in settings() {
        let names_one = ["secret", "password", "token", "pepper"].iter().any(|w| path.contains(w));
        assert!(!names_one || path.ends_with("_file"), "{path}");
    }
}
