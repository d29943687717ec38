//! [`Cluster`]: a cluster of servers, whose slots can be moved and whose masters can be killed.

use super::options::Options;
use super::process::wait_until;
use super::redis::Redis;
use super::wire::{quoted, text};

/// How many masters there are.
const MASTERS: usize = 3;

/// How many slots there are.
const SLOTS: usize = 16_384;

/// How many keys are moved at once.
const BATCH: usize = 100;

/// A running cluster of three masters. Nodes are numbered: the masters of the beginning first, then
/// the replicas of the first master, of the second, and of the third.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
    password: Option<String>,
}

/// What a node says of itself.
struct Myself {
    id: String,
    is_master: bool,
    epoch: u64,
    slots: Vec<(u16, u16)>,
}

impl Cluster {
    /// Starts three masters.
    pub fn start() -> Self {
        Self::of(&Redis::options(), 0)
    }

    /// Starts three masters with so many replicas each.
    pub fn with_replicas(replicas: usize) -> Self {
        Self::of(&Redis::options(), replicas)
    }

    /// Starts three masters with so many replicas each, all of them as the options say, and waits until
    /// every node says that the cluster is complete. That takes two seconds: so long a new node does not trust itself.
    pub fn of(options: &Options, replicas: usize) -> Self {
        let count = MASTERS * (1 + replicas);
        let options = options.clone().cluster_node();
        let nodes: Vec<_> = (0..count).map(|_| options.start()).collect();
        let password = nodes[0].password.clone();
        let cluster = Self { nodes, password };
        for master in 0..MASTERS {
            let (first, after) = (master * SLOTS / MASTERS, (master + 1) * SLOTS / MASTERS);
            let last = after - 1;
            cluster.tell(master, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
            cluster.tell(master, &format!("CLUSTER SET-CONFIG-EPOCH {}", master + 1));
        }
        // Each meets each: gossip alone takes seconds.
        for (one, other) in
            (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other)))
        {
            let other = &cluster.nodes[other];
            let (port, bus) = (other.port, other.bus.expect("a node has a bus"));
            cluster.tell(one, &format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
        }
        for replica in MASTERS..count {
            let master = cluster.myself((replica - MASTERS) / replicas).id;
            let command = format!("CLUSTER REPLICATE {master}");
            // Until it has heard of its master, it refuses.
            wait_until("a replica knows its master", || {
                cluster.ask(replica, &command).starts_with("+OK")
            });
        }
        cluster.wait_until_complete();
        wait_until(
            "every node knows every replica, and each is in step",
            || {
                (0..count).all(|node| cluster.replicas_seen_by(node) == count - MASTERS)
                    && (MASTERS..count).all(|replica| {
                        let says = cluster.ask(replica, "INFO replication");
                        says.contains("master_link_status:up")
                    })
            },
        );
        cluster
    }

    /// Where the nodes are.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// A node, to be asked, killed, frozen or started again.
    pub fn node(&self, node: usize) -> &Redis {
        &self.nodes[node]
    }

    /// Asks a node something. It answers for itself: what belongs to another node is `-MOVED`.
    pub fn ask(&self, node: usize, command: &str) -> String {
        self.nodes[node].ask(command)
    }

    /// The slot that a key is in.
    pub fn slot_of(&self, key: impl AsRef<[u8]>) -> u16 {
        let command = format!("CLUSTER KEYSLOT {}", quoted(key.as_ref()));
        let answer = self.ask(self.some_node(), &command);
        text(&answer).parse().expect("the number of a slot")
    }

    /// The node that a slot belongs to, by the word of the owner itself.
    ///
    /// # Panics
    ///
    /// If no node that is up claims it.
    pub fn node_of(&self, slot: u16) -> usize {
        self.owner(slot).expect("a node that owns the slot")
    }

    /// Moves a slot to another node, with its keys.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        self.finish_move(slot, from, to);
    }

    /// Begins to move a slot: from now on what `from` does not have is asked of `to` (`-ASK`), and what
    /// it has only in part is for neither of them (`-TRYAGAIN`).
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (self.myself(from).id, self.myself(to).id);
        self.tell(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {source}"));
        self.tell(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {target}"));
    }

    /// Moves one key of a slot that has begun to move.
    pub fn move_key(&self, key: impl AsRef<[u8]>, from: usize, to: usize) {
        self.migrate(&quoted(key.as_ref()), from, to);
    }

    /// Moves what is left of the keys, and makes every master know the new owner.
    pub fn finish_move(&self, slot: u16, from: usize, to: usize) {
        loop {
            let keys = self.ask(from, &format!("CLUSTER GETKEYSINSLOT {slot} {BATCH}"));
            let keys = bulks(&keys);
            if keys.is_empty() {
                break;
            }
            self.migrate(&keys.join(" "), from, to);
        }
        let command = format!("CLUSTER SETSLOT {slot} NODE {}", self.myself(to).id);
        self.tell(to, &command);
        self.tell(from, &command);
        for node in (0..self.nodes.len()).filter(|node| ![from, to].contains(node)) {
            if self.nodes[node].is_up() && self.myself(node).is_master {
                self.tell(node, &command);
            }
        }
    }

    /// Waits until another node than `old` has taken over a slot and every node that is up says that the
    /// cluster is complete, and returns it.
    pub fn wait_for_failover(&self, slot: u16, old: usize) -> usize {
        let mut new = old;
        wait_until("another node owns the slot", || {
            new = self.owner(slot).unwrap_or(old);
            new != old
        });
        self.wait_until_complete();
        new
    }

    /// Waits until every node that is up says that the cluster is complete.
    pub fn wait_until_complete(&self) {
        wait_until("the cluster is complete on every node", || {
            let mut up = self.nodes.iter().filter(|node| node.is_up());
            up.all(|node| node.ask("CLUSTER INFO").contains("cluster_state:ok"))
        });
    }

    fn owner(&self, slot: u16) -> Option<usize> {
        let up = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_up());
        up.map(|node| (node, self.myself(node)))
            .filter(|(_, it)| it.is_master)
            .filter(|(_, it)| {
                it.slots
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&slot))
            })
            .max_by_key(|(_, it)| it.epoch)
            .map(|(node, _)| node)
    }

    fn some_node(&self) -> usize {
        let up = self.nodes.iter().position(Redis::is_up);
        up.expect("a node that is up")
    }

    fn tell(&self, node: usize, command: &str) {
        let answer = self.ask(node, command);
        assert!(answer.starts_with('+'), "{command}: {answer}");
    }

    fn migrate(&self, keys: &str, from: usize, to: usize) {
        let port = self.nodes[to].port;
        let password = self.password.as_ref();
        let password = password.map_or(String::new(), |word| format!("AUTH {word} "));
        self.tell(
            from,
            &format!("MIGRATE 127.0.0.1 {port} \"\" 0 5000 {password}KEYS {keys}"),
        );
    }

    fn myself(&self, node: usize) -> Myself {
        let nodes = self.ask(node, "CLUSTER NODES");
        let line = nodes.lines().find(|line| line.contains("myself"));
        let words: Vec<_> = line.expect("a node knows itself").split(' ').collect();
        let slots = words[8..].iter().filter(|word| !word.starts_with('['));
        let number = |word: &str| word.parse().expect("the number of a slot");
        Myself {
            id: words[0].to_owned(),
            is_master: words[2].contains("master"),
            epoch: words[6].parse().expect("an epoch"),
            slots: slots
                .map(|range| range.split_once('-').unwrap_or((range, range)))
                .map(|(first, last)| (number(first), number(last)))
                .collect(),
        }
    }

    fn replicas_seen_by(&self, node: usize) -> usize {
        let nodes = self.ask(node, "CLUSTER NODES");
        let flags = nodes.lines().filter_map(|line| line.split(' ').nth(2));
        flags.filter(|flags| flags.contains("slave")).count()
    }
}

/// The keys in an answer that is a list of them, quoted.
fn bulks(answer: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rest = answer.split_once('\n').map_or("", |(_, rest)| rest);
    while let Some((length, after)) = rest.strip_prefix('$').and_then(|it| it.split_once('\n')) {
        let length: usize = length.trim().parse().expect("a length");
        keys.push(quoted(&after.as_bytes()[..length]));
        rest = &after[length + 2..];
    }
    keys
}
