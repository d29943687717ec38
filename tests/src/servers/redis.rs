//! [`Redis`]: a server by itself.

use super::options::{Options, SOCKET};
use super::process::{Process, Program, wait_until};
use super::tls::{Certificates, Tls};
use super::wire;

/// A running Redis server, or one that speaks like it.
#[derive(Debug)]
pub struct Redis {
    /// Ends when the server is dropped.
    pub(super) process: Process,
    pub(super) port: u16,
    pub(super) bus: Option<u16>,
    pub(super) tls: Option<Tls>,
    pub(super) password: Option<String>,
}

impl Redis {
    /// Starts one.
    pub fn start() -> Self {
        Self::options().start()
    }

    /// Says first how it is to be started.
    pub fn options() -> Options {
        Options::new(Program {
            path: "redis-server".into(),
            install: "apt-get install -y --no-install-recommends redis-server",
        })
    }

    /// Where it is, with the password if it wants one.
    pub fn url(&self) -> String {
        let user = self.user();
        format!("redis://{user}127.0.0.1:{}/", self.port)
    }

    /// Where it is by TLS. Its certificate is for `localhost` and `127.0.0.1`.
    ///
    /// # Panics
    ///
    /// If it was started without.
    pub fn tls_url(&self) -> String {
        let user = self.user();
        format!("rediss://{user}localhost:{}/", self.tls().port)
    }

    /// Where its Unix socket is.
    ///
    /// # Panics
    ///
    /// If it was started without.
    pub fn unix_url(&self) -> String {
        let folder = self.process.folder();
        assert!(
            folder.path().join(SOCKET).exists(),
            "it has no Unix socket: `Redis::options().unix_socket()`"
        );
        let password = self.password.as_ref();
        let password = password.map_or(String::new(), |word| format!("?pass={word}"));
        format!("redis+unix://{}{password}", folder.file(SOCKET))
    }

    /// The certificates of it and of its clients.
    ///
    /// # Panics
    ///
    /// If it was started without TLS.
    pub fn certificates(&self) -> &Certificates {
        &self.tls().certificates
    }

    /// The port that needs no TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks it something, written as for a person's terminal, and returns all that it says, as it came.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn ask(&self, command: &str) -> String {
        self.try_ask(command).expect("the server answers")
    }

    /// Asks it something, where it may be down.
    pub fn try_ask(&self, command: &str) -> std::io::Result<String> {
        wire::ask(self.port, self.password.as_deref(), command)
    }

    /// Whether it runs, and is not frozen.
    pub fn is_up(&self) -> bool {
        self.process.is_up()
    }

    /// Ends it at once, as a power cut does.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Ends it at once, as a power cut does, and starts it again on the same ports and in the same
    /// folder: empty, unless it was told to persist. It may have been killed before.
    ///
    /// # Panics
    ///
    /// If its ports are taken meanwhile.
    pub fn restart(&self) {
        self.process.restart(|_| self.is_ready());
    }

    /// Stops it where it is: its connections stay, new ones are accepted, and nothing answers.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// Waits until this replica has all that its master has written until now.
    ///
    /// # Panics
    ///
    /// If it does not come to that.
    pub fn catch_up_with(&self, master: &Redis) {
        let offset = |says: &str| {
            let mut lines = says.lines();
            let offset = lines.find_map(|line| line.strip_prefix("master_repl_offset:"));
            offset.and_then(|it| it.parse::<u64>().ok())
        };
        let written = offset(&master.ask("INFO replication"));
        wait_until("the replica has it all", || {
            let says = self.ask("INFO replication");
            // Before it is linked both may count from zero, whatever has been written.
            says.contains("master_link_status:up") && offset(&says) >= written
        });
    }

    /// Waits until it answers, and not another that had the port first. `false` when it has ended instead.
    pub(super) fn is_ready(&self) -> bool {
        let ours = format!("process_id:{}\r\n", self.process.id());
        self.process.answers(|| {
            let says = self.try_ask("INFO").unwrap_or_default();
            says.contains(&ours) && !says.contains("loading:1")
        })
    }

    fn user(&self) -> String {
        let password = self.password.as_ref();
        password.map_or(String::new(), |word| format!(":{word}@"))
    }

    fn tls(&self) -> &Tls {
        let tls = self.tls.as_ref();
        tls.expect("started with TLS: `Redis::options().tls()`")
    }
}
