//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use graceful_examples::duration;
use graceful_server::{
    Grace, HandoffError, ListenAddr, Platform, Protocol, Supervisor, TlsConfig, TlsError, take_over,
};

use crate::pid_file::PidFile;

/// Serves a small HTTP application that stops without losing a request and restarts without refusing one.
///
/// Signals: TERM, INT stop (again = next phase, third = cutoff); QUIT cutoff now; HUP restart; USR2 a successor beside
/// this process, until HUP (it goes on alone) or TERM to it (it is gone again); USR1 writes the connections to standard error. Exit status: 0 nothing was cut, 1 something was, 2 usage, 3 could not start.
#[derive(Debug, Parser)]
#[command(name = "reference-server")]
pub(crate) struct Args {
    /// Where to listen: IP:PORT (port 0 for any) or unix:PATH; repeatable
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: Vec<ListenAddr>,

    /// Where to show status, metrics and health
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<ListenAddr>,

    /// Protocol; with TLS, what it offers
    #[arg(long, value_enum, default_value_t = Http::Auto)]
    pub(crate) http: Http,

    /// Certificate for TLS on every --listen, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Key of the certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// How long each phase of a stop may take; single values below override it
    #[arg(long, value_enum, default_value_t = Profile::Default)]
    grace: Profile,

    /// Accepts and serves everything for so long after the signal
    #[arg(long, value_name = "D", value_parser = duration)]
    lame_duck: Option<Duration>,

    /// Keeps an idle connection for so long while draining
    #[arg(long, value_name = "D", value_parser = duration)]
    idle_grace: Option<Duration>,

    /// Spreads the closing of idle connections over so long
    #[arg(long, value_name = "D", value_parser = duration)]
    idle_spread: Option<Duration>,

    /// Waits so long for a new connection's first request while draining
    #[arg(long, value_name = "D", value_parser = duration)]
    first_request_grace: Option<Duration>,

    /// Lets what is open take so long to finish
    #[arg(long, value_name = "D", value_parser = duration)]
    drain: Option<Duration>,

    /// Lets a successor take so long to become ready
    #[arg(long, value_name = "D", default_value = "60s", value_parser = duration)]
    pub(crate) ready_timeout: Duration,

    /// Sleeps so long before becoming ready
    #[arg(long, value_name = "D", default_value = "0s", value_parser = duration)]
    pub(crate) start_delay: Duration,

    /// Control socket for takeover and commands
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    /// Takes the listeners of whoever answers at --control
    #[arg(long, requires = "control")]
    takeover: bool,

    /// Stays as supervisor with a stable process id, and runs the same command line as worker
    ///
    /// Signals to the supervisor: HUP replaces the worker, USR2 executes the supervisor's program anew in place, the others
    /// are passed on. Its exit status is the worker's.
    #[arg(long)]
    supervise: bool,

    /// Written when serving; belongs to the generation that serves, which with --supervise is the worker
    #[arg(long, value_name = "PATH")]
    pid_file: Option<PathBuf>,

    /// One JSON line for every aborted request, and for every connection that was closed without an aborted request
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Http {
    Auto,
    #[value(name = "1")]
    Http1,
    #[value(name = "2")]
    Http2,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    Default,
    Kubernetes,
    Systemd,
    Takeover,
    CloudRun,
    Dev,
}

impl Http {
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Auto => Protocol::Auto,
            Self::Http1 => Protocol::Http1,
            Self::Http2 => Protocol::Http2,
        }
    }
}

impl Profile {
    fn grace(self) -> Grace {
        match self {
            Self::Default => Grace::default(),
            // A pod's terminationGracePeriodSeconds, where nobody set another.
            Self::Kubernetes => Grace::kubernetes(Duration::from_secs(30)),
            Self::Systemd => Grace::systemd(),
            Self::Takeover => Grace::takeover(),
            Self::CloudRun => Grace::cloud_run(),
            Self::Dev => Grace::dev(),
        }
    }
}

impl Profile {
    /// Who ends the process when it does not, where nobody has changed that.
    fn platform(self) -> Platform {
        match self {
            Self::Default | Self::Kubernetes => Platform::killing_after(Duration::from_secs(30)),
            Self::Systemd => Platform::killing_after(Duration::from_secs(90)),
            Self::CloudRun => Platform::killing_after(Duration::from_secs(10)),
            // Nobody but the one who waits.
            Self::Takeover | Self::Dev => Platform::killing_after(Duration::MAX),
        }
    }
}

impl Args {
    /// The profile with the single values over it.
    pub(crate) fn grace(&self) -> Grace {
        let mut grace = self.grace.grace();
        let over = |value: &mut Duration, given: Option<Duration>| *value = given.unwrap_or(*value);
        over(&mut grace.lame_duck, self.lame_duck);
        over(&mut grace.idle_grace, self.idle_grace);
        over(&mut grace.idle_spread, self.idle_spread);
        over(&mut grace.first_request_grace, self.first_request_grace);
        over(&mut grace.drain, self.drain);
        grace
    }

    /// Says what of the durations does not fit where the profile is for, or each other.
    pub(crate) fn warn_of_misfits(&self) {
        for misfit in self.grace().validate(&self.grace.platform()) {
            tracing::warn!("{misfit}");
        }
    }

    /// TLS, if it is asked for. clap lets neither file be named without the other.
    pub(crate) fn tls(&self) -> Result<Option<TlsConfig>, TlsError> {
        let files = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        files
            .map(|(cert, key)| TlsConfig::from_pem_files(cert, key))
            .transpose()
    }

    pub(crate) fn pid_file(&self) -> PidFile {
        PidFile::new(self.pid_file.clone())
    }

    /// Asks whoever serves at --control for its place. If nobody does, this process is the first.
    pub(crate) fn take_over(&self) -> Result<(), HandoffError> {
        // A worker has the place of its supervisor, which has asked for it.
        let asks = self.takeover && !Supervisor::is_worker();
        if let (true, Some(path)) = (asks, &self.control) {
            if !take_over(path)? {
                tracing::info!(path = %path.display(), "nobody to take over from");
            }
        }
        Ok(())
    }

    /// Whether this process is to stay as the supervisor of those that serve.
    pub(crate) fn supervises(&self) -> bool {
        self.supervise && !Supervisor::is_worker()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn single_values_override_the_profile() {
        let parse = |flags: &str| Args::parse_from(format!("x {flags}").split_whitespace()).grace();
        assert_eq!(parse("--grace dev"), Grace::dev());
        let drain = Duration::from_secs(3);
        assert_eq!(
            parse("--grace dev --drain 3s"),
            Grace::dev().with_drain(drain)
        );
        assert_eq!(parse("--grace cloud-run"), Grace::cloud_run());
    }
}
