//! A server of AWS KMS's API for tests: moto, a child of the test program that all of it shares.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::{send, wait_for};
use crate::python::python_tools;

/// Ends the server when nobody holds the other end of its input any more.
const WATCHER: &str = "\"$0\" -H 127.0.0.1 -p \"$1\" >\"$2\" 2>&1 & read _; kill -KILL $!";

/// The server.
pub struct Moto {
    port: u16,
    _folder: TempDir,
    _watched: ChildStdin,
}

/// The server, started with the first test that needs it.
pub fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(|| {
        let program = python_tools().join("bin/moto_server");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let said = folder.path().join("said");
        let mut watcher = Command::new("sh")
            .args(["-c", WATCHER])
            .args([&program, Path::new(&port.to_string()), said.as_path()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("moto to answer", || {
            let ended = watcher.try_wait().unwrap();
            assert!(ended.is_none(), "moto ended: {}", fs::read_to_string(&said).unwrap());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let held = watcher.stdin.take().unwrap();
        Moto { port, _folder: folder, _watched: held }
    })
}

impl Moto {
    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A new key in a region of AWS: its ARN.
    pub fn key(&self, aws_region: &str) -> String {
        let made = self.call(aws_region, "CreateKey", &json!({}));
        made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
    }

    fn call(&self, aws_region: &str, action: &str, body: &Value) -> Value {
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/{aws_region}/kms/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        let target = format!("TrentService.{action}");
        let headers = [
            ("Authorization", scope.as_str()),
            ("X-Amz-Target", &target),
            ("Content-Type", "application/x-amz-json-1.1"),
        ];
        let url = format!("http://127.0.0.1:{}/", self.port);
        let answer = send("POST", &url, &headers, Some(&body.to_string()));
        answer.done(200).body.clone()
    }
}
