//! A real systemd, and the units of `deploy/systemd` in it.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::process::scratch;
use super::server::BINARY;
use super::until;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/systemd-sandbox");
const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/systemd");

/// Its own first process, units and processes; the machine's files and loopback network.
pub(crate) struct Systemd {
    folder: PathBuf,
    root: PathBuf,
}

impl Systemd {
    /// Nothing, with one line that says why, where it is not permitted.
    pub(crate) fn boot() -> Option<Self> {
        let folder = scratch();
        let output = script("start", &folder, &[]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() == Some(77) {
            eprint!("SKIPPED: {said}");
            let _ = fs::remove_dir_all(folder);
            return None;
        }
        assert!(output.status.success(), "{said}{}", text(&output.stderr));
        let pid = fs::read_to_string(folder.join("pid")).unwrap();
        let root = PathBuf::from(format!("/proc/{}/root", pid.trim()));
        Some(Self { folder, root })
    }

    /// A folder that lives as long as this.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a command in it, whatever comes of it.
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        script("exec", &self.folder, command)
    }

    /// Runs systemctl, which has to succeed.
    pub(crate) fn systemctl(&self, arguments: &[&str]) -> String {
        let output = self.run(&[&["systemctl"], arguments].concat());
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    fn write_unit(&self, name: &str, text: &str) {
        let path = self.root.join("etc/systemd/system").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("server.log"));
            eprintln!("--- server\n{}", log.unwrap_or_default());
            eprintln!(
                "{}",
                text(&self.run(&["systemctl", "status", "--no-pager", "*"]).stdout)
            );
        }
        script("stop", &self.folder, &[]);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn script(verb: &str, folder: &Path, command: &[&str]) -> Output {
    let mut script = Command::new(SCRIPT);
    script.arg(verb).arg(folder).args(command).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A service as `deploy/systemd` has it, with our paths and addresses.
pub(crate) struct Service {
    pub(crate) systemd: Arc<Systemd>,
    pub(crate) unit: String,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    program: PathBuf,
}

impl Service {
    /// Installs the unit and what goes with it. `change` is what this test wants to be different, as a drop-in.
    pub(crate) fn install(unit: &str, flags: &str, change: &str) -> Option<Self> {
        let systemd = Systemd::boot()?;
        let (addr, admin) = (own_address(), own_address());
        let program = systemd.folder().join("reference-server");
        let service = Self {
            unit: format!("{unit}.service"),
            systemd: Arc::new(systemd),
            addr,
            admin,
            program,
        };
        service.deploy(Path::new(BINARY));
        for name in [template(&service.unit), format!("{unit}.socket")] {
            if let Ok(text) = fs::read_to_string(Path::new(UNITS).join(&name)) {
                service
                    .systemd
                    .write_unit(&name, &service.ours(&text, flags));
                service
                    .systemd
                    .write_unit(&format!("{name}.d/test.conf"), NO_DEPENDENCIES);
            }
        }
        let log = service.systemd.folder().join("server.log");
        let log = format!(
            "[Service]\nStandardOutput=append:{0}\nStandardError=append:{0}\n{change}\n",
            log.display()
        );
        service
            .systemd
            .write_unit(&format!("{}.d/log.conf", template(&service.unit)), &log);
        service.systemd.systemctl(&["daemon-reload"]);
        Some(service)
    }

    /// Another instance of the same template. `change` is what is different about it.
    pub(crate) fn other(&self, instance: &str, change: &str) -> Self {
        let (name, _) = self.unit.split_once('@').unwrap();
        let other = Self {
            systemd: Arc::clone(&self.systemd),
            unit: format!("{name}@{instance}.service"),
            program: self.program.clone(),
            ..*self
        };
        other.change(change);
        other
    }

    /// Changes the unit from its next start on.
    pub(crate) fn change(&self, change: &str) {
        let drop_in = format!("{}.d/zz-change.conf", self.unit);
        self.systemd
            .write_unit(&drop_in, &format!("[Service]\n{change}\n"));
        self.systemd.systemctl(&["daemon-reload"]);
    }

    /// The command line of the unit with more flags, for a change.
    pub(crate) fn with_flags(&self, flags: &str) -> String {
        let path = Path::new(UNITS).join(template(&self.unit));
        let text = self.ours(&fs::read_to_string(path).unwrap(), flags);
        let line = text.lines().find(|line| line.starts_with("ExecStart="));
        format!("ExecStart=\n{}", line.unwrap())
    }

    fn ours(&self, unit: &str, flags: &str) -> String {
        let addr = |unit: String, theirs: &str, ours: SocketAddr| {
            assert!(!unit.contains("ExecStart") || unit.contains(theirs));
            unit.replace(theirs, &ours.to_string())
        };
        let program = format!("{} {flags}", self.program.display());
        let unit = unit.replace("/usr/local/bin/reference-server", &program);
        addr(
            addr(unit, "127.0.0.1:8080", self.addr),
            "127.0.0.1:8081",
            self.admin,
        )
    }

    /// Replaces the program in one step, as a deployment does.
    pub(crate) fn deploy(&self, program: &Path) {
        let next = self.program.with_extension("next");
        // A copy is written, and a process that another test forks meanwhile holds it open: exec fails then.
        fs::hard_link(program, &next).unwrap();
        fs::rename(next, &self.program).unwrap();
    }

    /// A program that fails at once.
    pub(crate) fn deploy_broken(&self) {
        self.deploy_script("exit 7");
    }

    /// A program that never becomes ready.
    pub(crate) fn deploy_hanging(&self) {
        self.deploy_script("exec sleep 300");
    }

    fn deploy_script(&self, script: &str) {
        let text = format!("#!/bin/sh\n{script}\n");
        let script = self.program.with_extension("script");
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::metadata(BINARY).unwrap().permissions()).unwrap();
        self.deploy(&script);
    }

    pub(crate) fn undeploy(&self) {
        fs::remove_file(&self.program).unwrap();
    }

    pub(crate) fn start(&self) {
        self.systemd.systemctl(&["start", &self.unit]);
    }

    /// What systemctl does with the unit, whatever comes of it.
    pub(crate) async fn order(&self, verb: &str) -> Output {
        let mut command = tokio::process::Command::new(SCRIPT);
        command.arg("exec").arg(self.systemd.folder());
        command
            .args(["systemctl", verb, &self.unit])
            .output()
            .await
            .unwrap()
    }

    pub(crate) fn property(&self, name: &str) -> String {
        let value = self
            .systemd
            .systemctl(&["show", "--value", "--property", name, &self.unit]);
        value.trim().to_owned()
    }

    pub(crate) fn main_pid(&self) -> u32 {
        self.property("MainPID").parse().unwrap()
    }

    /// All processes of the unit.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let group = format!(
            "/sys/fs/cgroup{}/cgroup.procs",
            self.property("ControlGroup")
        );
        let output = self.systemd.run(&["cat", &group]);
        text(&output.stdout)
            .lines()
            .map(|pid| pid.parse().unwrap())
            .collect()
    }

    /// Those that are the server, and not the client of a reload.
    pub(crate) fn servers(&self) -> Vec<u32> {
        let is_server = |pid: &u32| {
            let mut name = String::new();
            let file = fs::File::open(self.systemd.root.join(format!("proc/{pid}/comm")));
            file.is_ok_and(|mut file| file.read_to_string(&mut name).is_ok())
                && name.starts_with("reference-serve")
        };
        self.pids().into_iter().filter(is_server).collect()
    }

    pub(crate) fn kill(&self, signal: &str, pid: u32) {
        let output = self
            .systemd
            .run(&["kill", &format!("-{signal}"), &pid.to_string()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// Waits until a property of the unit has a value.
    pub(crate) async fn until(&self, property: &str, value: &str) {
        until(&format!("{property}={value}"), async || {
            self.property(property) == value
        })
        .await;
    }

    /// Waits until the status line contains `text`.
    pub(crate) async fn until_status(&self, text: &str) {
        until(&format!("{text:?} in the status"), async || {
            self.property("StatusText").contains(text)
        })
        .await;
    }

    pub(crate) fn assert_untouched(&self, main_pid: u32) {
        assert_eq!(self.property("ActiveState"), "active");
        assert_eq!(self.property("NRestarts"), "0");
        assert_eq!(self.main_pid(), main_pid);
    }
}

/// The file that a unit is read from.
fn template(unit: &str) -> String {
    match unit.split_once('@') {
        Some((name, _)) => format!("{name}@.service"),
        None => unit.to_owned(),
    }
}

const NO_DEPENDENCIES: &str = "[Unit]\nDefaultDependencies=no\nAfter=\nWants=\n";

/// An address that no other test uses: a port on a loopback address of this process.
fn own_address() -> SocketAddr {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let port = 8000 + COUNT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, 100, high, low], port))
}
