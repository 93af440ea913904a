//! docs/migration.md, done as it says: a shop's tables in a real `MariaDB`, its statements and
//! commands as they stand there, a node, and logins with the passwords that were known.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::mariadb::MariaDb;
use crate::node::{Company, Node};
use crate::syncing::{lines, synced};

/// What everybody in the shops' tables logs in with, but for those of WooCommerce and of PrestaShop
/// 1.7, whose hashes are of `VECTORS`.
const KNOWN: &str = "the known password";
const VECTORS: &str = "correct horse battery staple";

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md");
    fs::read_to_string(path).unwrap()
}

/// The first block of a kind after a text.
fn block_after(document: &str, text: &str, kind: &str) -> String {
    assert!(document.contains(text), "there is no {text}");
    let (_, after) = document.split_once(text).unwrap_or_default();
    let (_, block) = after.split_once(&format!("```{kind}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// The statement of a shop.
fn statement(shop: &str) -> String {
    let statement = block_after(&document(), &format!("\n**{shop}**"), "sql");
    assert!(statement.starts_with("SELECT"), "{shop}: {statement}");
    statement
}

/// What is written in the place of a latin1 column.
fn trap() -> String {
    block_after(&document(), "**The latin1 trap.**", "text").trim().to_owned()
}

/// A shop that moves over: its data base, its rows on the way, the node.
struct Move {
    base: MariaDb,
    node: Node,
}

impl Move {
    fn new() -> Self {
        let base = MariaDb::start();
        let programs = base.home().join("bin");
        fs::create_dir(&programs).unwrap();
        symlink(env!("CARGO_BIN_EXE_jcas"), programs.join("jcas")).unwrap();
        MariaDb::name_client(&programs);
        base.run("", "CREATE DATABASE SHOP");
        Self { base, node: Node::started(&[]) }
    }

    /// A company whose data base has the tables of a file.
    fn shop(&self, id: &str) -> Company {
        let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/shops/{id}.sql"));
        self.base.run("SHOP", &fs::read_to_string(tables).unwrap());
        self.node.company(id, &["NG"])
    }

    /// Types a line in the shop's folder. Comes back with the exit code and what was printed.
    fn type_in(&self, shop: &Company, line: &str) -> (Option<i32>, String) {
        let folder = self.folder(shop);
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(&folder).env("HOME", self.base.home());
        let path = std::env::var("PATH").unwrap();
        shell.env("PATH", format!("{}:{path}", self.base.home().join("bin").display()));
        shell.env("JCAS_URL", &shop.url).env("JCAS_API_KEY", &shop.key);
        let ran = shell.output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        (ran.status.code(), said + &String::from_utf8(ran.stderr).unwrap())
    }

    fn folder(&self, shop: &Company) -> PathBuf {
        let folder = self.base.home().join(&shop.id);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Writes a statement's rows with the document's command.
    fn dump(&self, shop: &Company, statement: &str) -> String {
        let folder = self.folder(shop);
        fs::write(folder.join("rows.sql"), statement).unwrap();
        let command = block_after(&document(), "the client's raw output", "text");
        assert_eq!(self.type_in(shop, &command), (Some(0), String::new()));
        fs::read_to_string(folder.join("customers.ndjson")).unwrap()
    }

    /// Tries and does it with the document's commands. Comes back with what the second printed.
    fn sync(&self, shop: &Company, created: u64) {
        let commands = block_after(&document(), "## 3. Try, then do", "sh");
        let commands: Vec<_> = commands.lines().collect();
        assert!(commands.len() == 2 && commands[0].ends_with("--dry-run"), "{commands:?}");
        let count = || self.node.state_hash().1;
        let before = count();
        for (command, expected) in commands.iter().zip([before, before + created]) {
            let (code, said) = self.type_in(shop, command);
            assert_eq!(code, Some(0), "{command}: {said}");
            assert!(said.contains(&format!("created    {created}\n")), "{said}");
            assert_eq!(count(), expected, "{command}");
        }
    }

    /// The shop's dump, taken over whole: its rows are what was expected of it.
    #[track_caller]
    fn done(&self, shop: &Company, title: &str, expected: &[Value]) {
        let dump = self.dump(shop, &statement(title));
        let rows: Vec<Value> =
            dump.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said: Vec<_> = rows.iter().map(without_hash).collect();
        assert_eq!(said, expected);
        self.sync(shop, rows.len() as u64);
        assert!(synced(shop, &rows).iter().all(|word| word == "unchanged"));
    }
}

/// A row without its hash, which is judged by logging in.
fn without_hash(row: &Value) -> Value {
    let mut members: BTreeMap<String, Value> = serde_json::from_value(row.clone()).unwrap();
    members.remove("legacy_hash");
    json!(members)
}

#[track_caller]
fn logs_in(shop: &Company, email: &str, password: &str) -> Value {
    shop.login("NG", email, "another").refused(401, "invalid_credentials");
    let user = shop.login("NG", email, password).done(200).body["user_id"].clone();
    shop.user(user.as_str().unwrap())
}

#[test]
fn customers_of_magento_log_in_after_the_steps_of_the_document() {
    let moving = Move::new();
    let shop = moving.shop("magento");
    let name = json!({ "given_name": "Adaé", "family_name": r#"O'Brien "A" \ B"# });
    let email = |name: &str| format!("{name}@magento.example");
    moving.done(
        &shop,
        "Magento 2",
        &[
            json!({ "ref": "1", "email": email("ada"), "profile": name, "status": "active" }),
            json!({ "ref": "2", "email": email("bob"), "profile": { "given_name": "Bób" },
                "status": "active" }),
            json!({ "ref": "3", "email": email("off"), "status": "disabled",
                "profile": { "given_name": "Off", "family_name": "Switched" } }),
            json!({ "ref": "4", "email": email("new"), "profile": {}, "status": "active" }),
        ],
    );
    assert_eq!(logs_in(&shop, &email("ada"), KNOWN)["profile"], name);
    logs_in(&shop, &email("bob"), KNOWN);
    shop.login("NG", &email("off"), KNOWN).refused(403, "user_disabled");
    shop.login("NG", &email("new"), KNOWN).refused(401, "invalid_credentials");
}

#[test]
fn customers_of_prestashop_log_in_after_the_steps_of_the_document() {
    let moving = Move::new();
    let shop = moving.shop("prestashop");
    let declare = block_after(&document(), "for instance for PrestaShop", "sh");
    let (code, said) = moving.type_in(&shop, &declare);
    assert_eq!(code, Some(0), "{said}");
    let email = |name: &str| format!("{name}@prestashop.example");
    let profile = |given: &str, family: &str| json!({ "given_name": given, "family_name": family });
    let mut ada = profile("Ada", "Ünal");
    ada["birthdate"] = json!("1990-02-28");
    moving.done(
        &shop,
        "PrestaShop",
        &[
            json!({ "ref": "1", "email": email("ada"), "profile": ada, "status": "active" }),
            json!({ "ref": "2", "email": email("bob"), "profile": profile("Bob", "B"),
                "status": "active" }),
            json!({ "ref": "3", "email": email("nul"), "profile": profile("Nul", "L"),
                "status": "disabled" }),
        ],
    );
    assert_eq!(logs_in(&shop, &email("ada"), KNOWN)["profile"], ada);
    logs_in(&shop, &email("bob"), VECTORS);
    shop.login("NG", &email("nul"), KNOWN).refused(403, "user_disabled");
}

#[test]
fn customers_of_opencart_log_in_after_the_steps_of_the_document() {
    let moving = Move::new();
    let shop = moving.shop("opencart");
    let path = "/v1/hash-profiles/NG/default";
    shop.call("PUT", path, json!({ "scheme": "opencart" })).done(200);
    let email = |name: &str| format!("{name}@opencart.example");
    let profile = |given: &str, family: &str| json!({ "given_name": given, "family_name": family });
    moving.done(
        &shop,
        "OpenCart",
        &[
            json!({ "ref": "1", "email": email("ada"), "phone": "0803 123 4567",
                "profile": profile("Ada", "Nwosu\nAda"), "status": "active" }),
            json!({ "ref": "2", "email": email("bob"), "profile": profile("Bob", "B"),
                "status": "active" }),
            json!({ "ref": "3", "email": email("off"), "phone": "+2348031234568",
                "profile": profile("Off", "O"), "status": "disabled" }),
        ],
    );
    let ada = logs_in(&shop, &email("ada"), KNOWN);
    logs_in(&shop, &email("bob"), KNOWN);
    let by_phone = json!({ "country": "NG", "phone": "08031234567", "password": KNOWN });
    let found = shop.call("POST", "/v1/login", by_phone);
    assert_eq!(found.done(200).body["user_id"], ada["user_id"]);
    shop.login("NG", &email("off"), KNOWN).refused(403, "user_disabled");
}

#[test]
fn customers_of_woocommerce_log_in_after_the_steps_of_the_document() {
    let moving = Move::new();
    let shop = moving.shop("woocommerce");
    let name = json!({ "given_name": "阿达 😀", "family_name": "Lovelace" });
    moving.done(
        &shop,
        "WooCommerce",
        &[
            json!({ "ref": "7", "email": "ada@woo.example", "profile": name }),
            json!({ "ref": "8", "email": "bob@woo.example", "profile": {} }),
        ],
    );
    assert_eq!(logs_in(&shop, "ada@woo.example", VECTORS)["profile"], name);
    logs_in(&shop, "bob@woo.example", VECTORS);
}

#[test]
fn a_latin1_column_that_holds_utf8_comes_out_of_the_trap_as_it_was_typed() {
    let moving = Move::new();
    let shop = moving.shop("latin1");
    let profile =
        json!({ "scheme": "prestashop", "pepper": "COOKIE_KEY", "password_encoding": "latin1" });
    shop.call("PUT", "/v1/hash-profiles/NG/default", profile).done(200);
    let plain = statement("PrestaShop");
    let names = |statement: &str| -> Vec<String> {
        let dump = moving.dump(&shop, statement);
        let rows = dump.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|row| row["profile"]["given_name"].as_str().unwrap().to_owned()).collect()
    };
    // As the document warns: what is UTF-8 already comes twice encoded.
    let twice = ["JosÃ©", "José", "Zoë €", "Ã©é", "æŽå°ðŸ˜€", "Ann"];
    let seen = names(&plain);
    assert_eq!((&seen[0], &seen[1], seen.len()), (&twice[0].into(), &twice[1].into(), 6));
    let column = "'given_name', firstname";
    assert!(plain.contains(column), "{plain}");
    let mended = plain.replace(column, &format!("'given_name', {}", trap()));
    assert_eq!(names(&mended), ["José", "José", "Zoë €", "Ã©é", "李小😀", "Ann"]);
    moving.sync(&shop, 6);
    assert_eq!(logs_in(&shop, "utf8@old.example", "café")["profile"]["given_name"], "José");
}

#[test]
fn the_row_of_a_change_made_while_cut_off_is_taken() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let row = block_after(&document(), "## 4. While JCAS was out of reach", "text");
    let mut row: Value = serde_json::from_str(&row).unwrap();
    row["legacy_hash"]["hash"] = json!(crate::sync::hash_of("new"));
    let old =
        json!({ "email": row["email"], "legacy_hash": { "hash": crate::sync::hash_of("old") }});
    assert_eq!(synced(&shop, &[old]), ["created"]);
    assert_eq!(synced(&shop, std::slice::from_ref(&row)), ["applied"], "{}", lines(&[row.clone()]));
    logs_in(&shop, row["email"].as_str().unwrap(), "new");
}
