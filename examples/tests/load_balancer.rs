//! Two reference servers behind HAProxy and behind nginx, restarted one after the other under load: no client sees an error.
//!
//! The configurations and the servers' command lines are those that users copy from `deploy/`. Only the loopback address
//! is another one, so that every test has all of its ports to itself (Linux answers on the whole of 127.0.0.0/8).

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "what a test did not get is its failure"
)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::Signal;
use support::loops::Loops;
use support::process::{self, Process, scratch};
use support::server::{BINARY, Server};
use support::{get, text, until};
use tokio::net::TcpStream;
use tokio::time::sleep;

const ROUNDS: u32 = 5;
/// Many requests fall into every phase of a stop, and every connection is idle between two of them.
const PAUSE: Duration = Duration::from_millis(20);

/// What stands in front.
#[derive(Clone, Copy)]
enum Balancer {
    HaProxy,
    Nginx,
}

impl Balancer {
    /// Where it is installed.
    fn program(self) -> Option<PathBuf> {
        let name = match self {
            Self::HaProxy => "haproxy",
            Self::Nginx => "nginx",
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<_> = std::env::split_paths(&path).collect();
        folders.push("/usr/sbin".into());
        let found = folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|file| file.exists());
        if found.is_none() {
            eprintln!("SKIPPED: {name} is not installed (Debian package {name})");
        }
        found
    }

    fn file(self) -> &'static str {
        match self {
            Self::HaProxy => include_str!("../../deploy/haproxy/haproxy.cfg"),
            Self::Nginx => include_str!("../../deploy/nginx/nginx.conf"),
        }
    }

    /// Its arguments, in the foreground and with everything it writes in `folder`.
    fn args(self, config: &Path, folder: &Path) -> Vec<String> {
        let (config, folder) = (config.to_str().unwrap(), folder.display());
        let own = format!("daemon off; pid {folder}/pid; error_log stderr;");
        match self {
            Self::HaProxy => ["-db", "-f", config].map(Into::into).into(),
            Self::Nginx => ["-c", config, "-g", &own].map(Into::into).into(),
        }
    }
}

/// A balancer with its two servers, and the load on it.
struct Rig {
    balancer: Balancer,
    host: String,
    config: String,
    servers: [Server; 2],
    load: Loops,
    _front: Process,
}

impl Rig {
    async fn start(balancer: Balancer) -> Option<Self> {
        static TESTS: AtomicU8 = AtomicU8::new(1);
        let program = balancer.program()?;
        let pid = std::process::id();
        let host = format!(
            "127.{}.{}.{}",
            pid >> 8 & 0xff,
            pid & 0xff,
            TESTS.fetch_add(1, Relaxed)
        );
        let config = balancer.file().replace("127.0.0.1", &host);
        let servers = [
            Self::server(&config, 0).await,
            Self::server(&config, 1).await,
        ];
        let front = Self::front(balancer, &program, &config);
        let addr: SocketAddr = format!("{host}:8000").parse().unwrap();
        until("the balancer listens", async || {
            TcpStream::connect(addr).await.is_ok()
        })
        .await;
        let load = Loops::paced(addr, PAUSE);
        load.answer(100).await;
        Some(Self {
            balancer,
            host,
            config,
            servers,
            load,
            _front: front,
        })
    }

    fn front(balancer: Balancer, program: &Path, config: &str) -> Process {
        let folder = scratch();
        // Paths of the distribution, which only root may write to.
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {}/{what};", folder.display()));
        let http = format!("http {{\naccess_log off; {}\n", paths.concat());
        let file = folder.join("config");
        fs::write(&file, config.replace("http {\n", &http)).unwrap();
        let args = balancer.args(&file, &folder);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        Process::start(program, &args)
    }

    /// Starts the first or the second server as the configuration's own comment says.
    async fn server(config: &str, nth: u16) -> Server {
        let command = config
            .lines()
            .find_map(|line| line.strip_prefix("#   reference-server "));
        let command = command
            .unwrap()
            .replace(":8081", &format!(":{}", 8081 + nth));
        let mut args: Vec<_> = command.split_whitespace().collect();
        let admin = ["--admin", "127.0.0.1:0"];
        args.extend(admin);
        Server::run(BINARY.as_ref(), &args).await
    }

    /// Until the balancer sends requests to the server that was started again.
    async fn noticed(&self, nth: usize) {
        match self.balancer {
            // Twice the `fail_timeout`.
            Balancer::Nginx => sleep(Duration::from_secs(2)).await,
            Balancer::HaProxy => {
                let status = format!("{}:8404", self.host).parse().unwrap();
                let name = ["app,one,", "app,two,"][nth];
                until("HAProxy says UP", async || {
                    let page = get(status, "/;csv").await;
                    let line = text(&page).lines().find(|line| line.starts_with(name));
                    line.and_then(|line| line.split(',').nth(17)) == Some("UP")
                })
                .await;
            }
        }
    }

    /// TERM, wait for the exit, start again.
    async fn replace(&mut self, nth: usize) {
        self.servers[nth].signal(Signal::TERM);
        assert_eq!(self.servers[nth].exit().await, 0);
        self.servers[nth] = Self::server(&self.config, nth as u16).await;
        self.noticed(nth).await;
    }

    /// Until this server has had its share of the load.
    async fn used(&self, nth: usize) {
        let requests = async || {
            let status = self.servers[nth].status().await;
            status["total"]["requests"].as_u64().unwrap()
        };
        let before = requests().await;
        until("requests for each server", async || {
            requests().await > before + 50
        })
        .await;
    }
}

async fn replaced_one_after_the_other(balancer: Balancer) {
    let Some(mut rig) = Rig::start(balancer).await else {
        return;
    };
    for _ in 0..ROUNDS {
        for nth in 0..2 {
            rig.replace(nth).await;
            rig.used(nth).await;
        }
    }
    rig.load.stop().await.assert_all_answered();
}

async fn handed_over_one_after_the_other(balancer: Balancer) {
    let Some(mut rig) = Rig::start(balancer).await else {
        return;
    };
    for generation in 1..=ROUNDS {
        let old = [rig.servers[0].pid, rig.servers[1].pid];
        for nth in 0..2 {
            rig.servers[nth].signal(Signal::HUP);
            rig.servers[nth].ready(generation).await;
            rig.used(nth).await;
        }
        for pid in old {
            assert_eq!(process::exit(pid).await, 0);
        }
    }
    rig.load.stop().await.assert_all_answered();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_servers_that_are_stopped_and_started_cost_no_error() {
    replaced_one_after_the_other(Balancer::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_servers_that_are_handed_over_cost_no_error() {
    handed_over_one_after_the_other(Balancer::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_servers_that_are_stopped_and_started_cost_no_error() {
    replaced_one_after_the_other(Balancer::Nginx).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_servers_that_are_handed_over_cost_no_error() {
    handed_over_one_after_the_other(Balancer::Nginx).await;
}
