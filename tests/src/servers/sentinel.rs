//! [`Sentinel`]: a master, its replica, and three sentinels that watch them.

use super::options::Options;
use super::process::wait_until;
use super::redis::Redis;

/// How many sentinels there are.
const SENTINELS: usize = 3;

/// A master and its replica under the watch of three sentinels, two of which have to agree. They call a
/// server dead after a second of silence.
#[derive(Debug)]
pub struct Sentinel {
    servers: [Redis; 2],
    sentinels: Vec<Redis>,
}

impl Sentinel {
    /// What the sentinels call the service.
    pub const SERVICE: &str = "mymaster";

    /// Starts all of them.
    pub fn start() -> Self {
        Self::of(&Redis::options())
    }

    /// Starts all of them, the two servers as the options say, and waits until the replica is in step
    /// and each sentinel knows it and the other sentinels.
    pub fn of(options: &Options) -> Self {
        let master = options.start();
        let replica = options.clone().replica_of(&master).start();
        wait_until("the replica is in step", || {
            let says = replica.ask("INFO replication");
            says.contains("master_link_status:up")
        });
        let sentinel = options.sentinel_of(Self::SERVICE, &master);
        let sentinels: Vec<_> = (0..SENTINELS).map(|_| sentinel.start()).collect();
        let service = Self::SERVICE;
        wait_until("the sentinels see each other, and the replica", || {
            sentinels.iter().all(|sentinel| {
                let known = sentinel.ask("INFO sentinel");
                let replicas = sentinel.ask(&format!("SENTINEL REPLICAS {service}"));
                known.contains("status=ok")
                    && known.contains(&format!("slaves=1,sentinels={SENTINELS}"))
                    && replicas.contains("\r\nok\r\n")
            })
        });
        Self {
            servers: [master, replica],
            sentinels,
        }
    }

    /// Where the sentinels are.
    pub fn sentinel_urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Redis::url).collect()
    }

    /// The sentinels, to be asked, killed or frozen.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// The two servers: the master of the beginning, and its replica of the beginning.
    pub fn servers(&self) -> &[Redis; 2] {
        &self.servers
    }

    /// The master, by the word of the first sentinel that is up.
    ///
    /// # Panics
    ///
    /// If no sentinel is up.
    pub fn master(&self) -> &Redis {
        let up = self.sentinels.iter().find(|sentinel| sentinel.is_up());
        let sentinel = up.expect("a sentinel that is up");
        self.master_by(sentinel)
    }

    /// Kills the master and returns it, at once: the sentinels have not noticed.
    pub fn kill_master(&self) -> &Redis {
        let master = self.master();
        master.kill();
        master
    }

    /// Waits until every sentinel that is up names another master than `old` and that one is writable,
    /// and returns it.
    pub fn wait_for_failover(&self, old: &Redis) -> &Redis {
        let is_old = |server: &Redis| server.port() == old.port();
        let new = self.servers.iter().find(|server| !is_old(server));
        let new = new.expect("there are two");
        wait_until("the sentinels name another master", || {
            let mut up = self.sentinels.iter().filter(|sentinel| sentinel.is_up());
            up.all(|sentinel| !is_old(self.master_by(sentinel)))
                && new.ask("ROLE").contains("master")
        });
        new
    }

    fn master_by(&self, sentinel: &Redis) -> &Redis {
        let service = Self::SERVICE;
        let address = sentinel.ask(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {service}"));
        let named = |server: &&Redis| address.contains(&format!("\r\n{}\r\n", server.port()));
        let master = self.servers.iter().find(named);
        master.expect("the sentinels name one of the two")
    }
}
