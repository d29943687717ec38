//! [`Options`]: how a server of Redis's kind is started.

use super::process::{Folder, Process, Program};
use super::redis::Redis;
use super::tls::{Certificates, Tls};
use super::wire::free_port;

/// How often other ports are tried.
const TRIES: usize = 5;

/// How a server is started: without persistence, on 127.0.0.1, and as is said here.
#[derive(Clone, Debug)]
pub struct Options {
    program: Program,
    role: Role,
    arguments: Vec<String>,
    password: Option<String>,
    unix_socket: bool,
    /// Whether clients have to show a certificate, where there is TLS.
    tls: Option<bool>,
}

/// What a server is for.
#[derive(Clone, Debug)]
enum Role {
    Store,
    ClusterNode,
    /// A sentinel, by its settings.
    Sentinel(Vec<String>),
}

impl Options {
    pub(super) fn new(program: Program) -> Self {
        Self {
            program,
            role: Role::Store,
            arguments: Vec::new(),
            password: None,
            unix_socket: false,
            tls: None,
        }
    }

    /// More arguments, as `["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"]`. They win over ours.
    pub fn arguments<I: IntoIterator<Item: Into<String>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A password, of letters and digits, that clients have to give; the server gives it to its master, too.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Makes it a replica of another.
    pub fn replica_of(self, master: &Redis) -> Self {
        let port = master.port().to_string();
        self.arguments(["--replicaof", "127.0.0.1", &port])
    }

    /// A Unix socket, too.
    pub fn unix_socket(mut self) -> Self {
        self.unix_socket = true;
        self
    }

    /// A port with TLS, too, by certificates made for it alone.
    pub fn tls(mut self) -> Self {
        self.tls = Some(false);
        self
    }

    /// A port with TLS, too, where clients have to show a certificate as well.
    pub fn mutual_tls(mut self) -> Self {
        self.tls = Some(true);
        self
    }

    /// A node of a cluster.
    pub(super) fn cluster_node(mut self) -> Self {
        self.role = Role::ClusterNode;
        self
    }

    /// A sentinel that watches a server which was started like this.
    pub(super) fn sentinel_of(&self, service: &str, master: &Redis) -> Self {
        let mut settings = vec![
            format!("monitor {service} 127.0.0.1 {} 2", master.port()),
            format!("down-after-milliseconds {service} 1000"),
            format!("failover-timeout {service} 5000"),
        ];
        if let Some(password) = &self.password {
            settings.push(format!("auth-pass {service} {password}"));
        }
        let mut sentinel = Self::new(self.program.clone());
        sentinel.role = Role::Sentinel(settings);
        sentinel
    }

    /// Starts a server, and waits until it answers.
    pub fn start(&self) -> Redis {
        for _ in 0..TRIES {
            let folder = Folder::new();
            let port = free_port();
            let bus = matches!(self.role, Role::ClusterNode).then(free_port);
            let tls = self.tls.map(|mutual| Tls {
                port: free_port(),
                mutual,
                certificates: Certificates::new(),
            });
            let arguments = self.line(&folder, port, bus, tls.as_ref());
            let redis = Redis {
                process: Process::start(&self.program, arguments, folder),
                port,
                bus,
                tls,
                password: self.password.clone(),
            };
            if redis.is_ready() {
                return redis;
            }
        }
        panic!("no port stayed free for a server")
    }

    fn line(&self, folder: &Folder, port: u16, bus: Option<u16>, tls: Option<&Tls>) -> Vec<String> {
        let path = folder.path().display();
        if let Role::Sentinel(settings) = &self.role {
            let settings = settings.join("\nsentinel ");
            let file =
                format!("port {port}\nbind 127.0.0.1\ndir \"{path}\"\nsentinel {settings}\n");
            return vec![folder.write(CONFIGURATION, &file), "--sentinel".to_owned()];
        }
        let mut line = Vec::new();
        let mut add = |name: &str, value: &str| line.extend([name.to_owned(), value.to_owned()]);
        add("--port", &port.to_string());
        add("--bind", "127.0.0.1");
        add("--dir", &path.to_string());
        add("--save", "");
        add("--appendonly", "no");
        add("--repl-diskless-sync-delay", "0");
        if let Some(password) = &self.password {
            add("--requirepass", password);
            add("--masterauth", password);
        }
        if self.unix_socket {
            add("--unixsocket", &folder.file(SOCKET));
        }
        if let Some(bus) = bus {
            add("--cluster-enabled", "yes");
            add("--cluster-config-file", "nodes.conf");
            add("--cluster-node-timeout", "2000");
            add("--cluster-port", &bus.to_string());
        }
        if let Some(tls) = tls {
            let files = tls.certificates.write(folder);
            add("--tls-port", &tls.port.to_string());
            add("--tls-cert-file", &files.server.certificate);
            add("--tls-key-file", &files.server.key);
            add("--tls-ca-cert-file", &files.authority);
            add("--tls-auth-clients", if tls.mutual { "yes" } else { "no" });
        }
        line.extend(self.arguments.iter().cloned());
        line
    }
}

/// The file that a sentinel reads, and writes what it learns to.
const CONFIGURATION: &str = "sentinel.conf";

/// The name of the socket in the server's folder.
pub(super) const SOCKET: &str = "socket";
