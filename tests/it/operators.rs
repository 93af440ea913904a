//! What operators type: companies, policies and keys through the command line, and what it says.

use serde_json::{Value, json};

use crate::node::{Company, Node, wait_for};

/// Runs a command that is done, and returns the JSON it prints.
#[track_caller]
fn done(node: &Node, arguments: &[&str]) -> Value {
    let (code, printed, said) = node.run(arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    serde_json::from_str(&printed).unwrap()
}

/// Runs a command that is refused, and returns what it says.
#[track_caller]
fn refused(node: &Node, arguments: &[&str], exit: i32) -> String {
    let (code, printed, said) = node.run(arguments);
    assert_eq!((code, printed.as_str()), (exit, ""), "{arguments:?}: {said}");
    said
}

/// A company as its back end sees it, with a key that the command line made.
fn with_key(node: &Node, id: &str, issued: &Value) -> Company {
    let key = issued["api_key"].as_str().unwrap().to_owned();
    Company { url: node.url().to_owned(), key, id: id.to_owned() }
}

#[test]
fn a_company_is_added_changed_listed_and_given_policies() {
    let node = Node::started(&[]);
    let added = done(&node, &["company", "add", "shop", "--country", "NG,KE"]);
    assert_eq!(added["countries"], json!(["KE", "NG"]));
    assert_eq!(added["signing"], "required", "calls must be signed unless the operator says else");
    let default = json!({ "read": "all", "password": "own", "profile": "own", "identity": "own",
        "status": "own", "link": "own", "erase": "own", "verifies": false });
    assert_eq!(added["policies"], default);

    // Again: what is named changes, the policies stay.
    let one = ["--profile", "all", "--verifies", "true"];
    let policy = done(&node, &[&["company", "policy", "shop"], &one[..]].concat());
    let mut expected = default.clone();
    (expected["profile"], expected["verifies"]) = (json!("all"), json!(true));
    assert_eq!(policy["policies"], expected);
    let added =
        done(&node, &["company", "add", "shop", "--country", "NG", "--signing", "optional"]);
    assert_eq!((&added["policies"], &added["countries"]), (&expected, &json!(["NG"])));
    assert_eq!(done(&node, &["company", "policy", "shop"])["policies"], expected);

    // The preset gives all, what stands beside it less.
    let trusted = json!({ "read": "all", "password": "all", "profile": "all", "identity": "all",
        "status": "all", "link": "all", "erase": "all", "verifies": true });
    let group = ["company", "add", "group", "--country", "NG", "--signing", "optional"];
    let added = done(&node, &[&group[..], &["--preset", "trusted"]].concat());
    assert_eq!(added["policies"], trusted);
    let preset = ["company", "policy", "shop", "--preset", "trusted", "--erase", "off"];
    let mut expected = trusted.clone();
    expected["erase"] = json!("off");
    assert_eq!(done(&node, &preset)["policies"], expected);

    let listed = done(&node, &["company", "list"]);
    let ids: Vec<_> =
        listed["companies"].as_array().unwrap().iter().map(|it| &it["company"]).collect();
    assert_eq!(ids, [&json!("group"), &json!("shop")]);
    assert_eq!(done(&node, &["company", "show", "shop"])["policies"], expected);

    // And the companies see what they were given.
    for (id, policies) in [("group", trusted), ("shop", expected)] {
        let issued = done(&node, &["key", "issue", id, "--scopes", "read"]);
        let whoami = with_key(&node, id, &issued).call("GET", "/v1/whoami", Value::Null);
        assert_eq!(whoami.done(200).body["policies"], policies);
        assert_eq!(whoami.body["scopes"], json!(["read"]));
    }
}

#[test]
fn two_keys_hold_at_once_until_one_expires_or_is_revoked() {
    let mut node = Node::started(&[]);
    done(&node, &["company", "add", "shop", "--country", "NG", "--signing", "optional"]);
    let issue = |expires: &[&str]| {
        let arguments = [&["key", "issue", "shop", "--scopes", "login,read"], expires].concat();
        done(&node, &arguments)
    };
    let (old, new) = (issue(&[]), issue(&["--expires", "90d"]));
    let short = issue(&["--expires", "1s"]);
    assert_eq!(old["expires_at"], Value::Null);
    let [with_old, with_new, with_short] =
        [&old, &new, &short].map(|issued| with_key(&node, "shop", issued));
    let works = |company: &Company| {
        let answer = company.call("GET", "/v1/whoami", Value::Null);
        if answer.status != 200 {
            answer.refused(401, "api_key_invalid");
        }
        answer.status == 200
    };
    assert!(works(&with_old) && works(&with_new), "two at once");
    wait_for("a key to expire", || (!works(&with_short)).then_some(()));

    // The list names every key that stands, and none of their secrets.
    let (_, listed, _) = node.run(&["key", "list", "shop"]);
    for issued in [&old, &new] {
        assert!(listed.contains(issued["key"].as_str().unwrap()), "{listed}");
        let secret = issued["api_key"].as_str().unwrap().rsplit('_').next().unwrap();
        assert!(!listed.contains(secret), "{listed}");
    }
    let scopes = serde_json::from_str::<Value>(&listed).unwrap()[0]["scopes"].clone();
    assert_eq!(scopes, json!(["login", "read"]));

    // Rotating: the new one is in use, the old one goes.
    let id = old["key"].as_str().unwrap();
    assert_eq!(done(&node, &["key", "revoke", "shop", id])["revoked"], true);
    assert!(!works(&with_old) && works(&with_new));
    assert!(!node.run(&["key", "list", "shop"]).1.contains(id));
    let said = refused(&node, &["key", "revoke", "shop", id], 1);
    assert!(said.contains("not found"), "{said}");
    node.kill();
    node.start();
    let [with_old, with_new, with_short] =
        [with_old, with_new, with_short].map(|company| company.at(&node));
    assert!(!works(&with_old) && works(&with_new) && !works(&with_short), "after a start, too");
}

#[test]
fn what_is_typed_wrong_is_named_and_changes_nothing() {
    let mut node = Node::started(&[]);
    done(&node, &["company", "add", "shop", "--country", "NG", "--signing", "optional"]);
    let before = node.state_hash();
    for (arguments, exit, named) in [
        (&["company", "add", "new"][..], 2, "--country"),
        (&["company", "add", "new", "--country", "Nigeria"], 2, "Nigeria"),
        (&["company", "add", "New Shop", "--country", "NG"], 1, ""),
        (&["company", "add", "new", "--country", "NG", "--signing", "maybe"], 2, "required"),
        (&["company", "add", "new", "--country", "NG", "--preset", "all"], 2, "trusted"),
        (&["company", "policy", "shop", "--read", "some"], 2, "off, own or all"),
        (&["company", "policy", "nobody", "--read", "all"], 1, "not found"),
        (&["company", "show", "nobody"], 1, "not found"),
        (&["key", "issue", "shop"], 2, "--scopes"),
        (&["key", "issue", "shop", "--scopes", "everything"], 2, "login, read, write"),
        (&["key", "issue", "shop", "--scopes", "read", "--expires", "soon"], 2, "90d"),
        (&["key", "issue", "nobody", "--scopes", "read"], 1, "not found"),
        (&["key", "revoke", "shop", "0123456789abcdef"], 1, "not found"),
        (&["key", "list", "nobody"], 1, "not found"),
    ] {
        let said = refused(&node, arguments, exit);
        assert!(said.contains(named), "{arguments:?}: {said}");
    }
    assert_eq!(node.state_hash(), before, "something was recorded");
    // Without a node, the command says what it looked for.
    assert_eq!(node.stop(), 0);
    let said = refused(&node, &["company", "list"], 1);
    assert!(said.contains("is jcas running?"), "{said}");
}

/// The subcommands that a help text names.
fn subcommands(help: &str) -> Vec<String> {
    let Some(listed) = help.split("Commands:\n").nth(1) else { return Vec::new() };
    let names = listed.lines().take_while(|line| line.starts_with("  "));
    let names = names.filter(|line| !line.starts_with("   "));
    let names = names.map(|line| line.trim().split(' ').next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn the_help_of_every_command_shows_how_it_is_typed() {
    let node = Node::new(&[]);
    let mut commands = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(command) = commands.pop() {
        let mut arguments: Vec<_> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let (code, help, _) = node.run(&arguments);
        assert_eq!(code, 0, "{command:?}");
        let below = subcommands(&help);
        if below.is_empty() {
            let typed = format!(" {}", command.join(" "));
            let mut examples = help.split("Example").nth(1).unwrap_or_default().lines();
            let is_shown = examples.any(|it| it.contains("jcas") && it.contains(&typed));
            assert!(is_shown, "jcas{typed} has no example:\n{help}");
            seen += 1;
        }
        commands.extend(below.into_iter().map(|name| [&command[..], &[name]].concat()));
    }
    assert!(seen > 15, "only {seen} commands were found");
}
