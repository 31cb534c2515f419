//! Many replicas at random: paused at any moment, killed, restarted, cut off, and with lost answers. Two never work in
//! one shard, and every shard is owned in the end.

use super::*;

const LEASE: Duration = Duration::from_millis(1_500);
const VALID: Duration = Duration::from_millis(1_000);

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.below(below))
    }
}

/// The home.
#[derive(Default)]
struct Api {
    version: u64,
    replicas: BTreeMap<String, u64>,
    table: Option<(u64, ShardTableSpec)>,
}

impl Api {
    fn bump(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn write(&mut self, before: Option<u64>, table: ShardTableSpec) -> Option<u64> {
        if self.table.as_ref().map(|(version, _)| *version) != before {
            return None;
        }
        let version = self.bump();
        self.table = Some((version, table));
        Some(version)
    }
}

/// A process, as `Member` and `Shards` are.
struct Process {
    name: String,
    protocol: Protocol,
    version: u64,
    valid_until: Instant,
    renew_at: Instant,
    table: Option<(u64, ShardTableSpec)>,
    fresh: bool,
    own: [u64; SHARDS],
    draining: [bool; SHARDS],
    /// Until when something runs.
    busy: [Option<Instant>; SHARDS],
    doubt: Option<u64>,
    decided: Option<Step>,
    list_at: Instant,
    paused_until: Instant,
    leaving: bool,
}

struct World {
    now: Instant,
    random: Random,
    api: Api,
    processes: Vec<Process>,
    /// Writes that are still on their way, although their sender has given up waiting for the answer.
    late: Vec<(Instant, Option<u64>, ShardTableSpec)>,
    started: u64,
    faults: bool,
}

impl World {
    fn start(&mut self) {
        self.started += 1;
        let name = format!("r{}", self.started);
        let version = self.api.bump();
        self.api.replicas.insert(name.clone(), version);
        self.processes.push(Process {
            protocol: Protocol::new(name.clone(), LEASE),
            name,
            version,
            valid_until: self.now + VALID,
            renew_at: self.now + LEASE / 3,
            table: None,
            fresh: false,
            own: [0; SHARDS],
            draining: [false; SHARDS],
            busy: [None; SHARDS],
            doubt: None,
            decided: None,
            list_at: self.now,
            paused_until: self.now,
            leaving: false,
        });
    }

    /// One request, or one decision, of one process.
    fn step(&mut self, index: usize) {
        let now = self.now;
        let (lost, late) = (self.faults && self.random.one_in(15), self.random.one_in(2));
        let process = &mut self.processes[index];
        process.end_work(now);
        if now >= process.renew_at {
            process.renew(&mut self.api, now, lost, late);
        } else if let Some(step) = process.decided.take() {
            let sent = process.act(step, &mut self.api, lost, late);
            if let Some((before, table)) = sent {
                let arrives = now + self.random.millis(3_000);
                self.late.push((arrives, before, table));
            }
        } else if !process.fresh || now >= process.list_at {
            process.look(&self.api, now);
        } else {
            let unix = 1;
            process.decide(now, unix);
        }
        if self.random.one_in(3) {
            let shard = usize::try_from(self.random.below(64)).expect("small");
            let process = &mut self.processes[index];
            if process.may_begin(shard, now) {
                process.busy[shard] = Some(now + self.random.millis(2_000));
            }
        }
    }

    fn disturb(&mut self) {
        if !self.faults {
            return;
        }
        let count = self.processes.len() as u64;
        match self.random.below(400) {
            0 if count < 5 => self.start(),
            1 if count > 1 => {
                let index = usize::try_from(self.random.below(count)).expect("small");
                self.processes.remove(index);
            }
            2 if count > 1 => {
                let index = usize::try_from(self.random.below(count)).expect("small");
                self.processes[index].leave();
            }
            3..8 => {
                let index = usize::try_from(self.random.below(count)).expect("small");
                self.processes[index].paused_until = self.now + self.random.millis(4_000);
            }
            8 => {
                // Somebody deletes a Replica by hand.
                let index = usize::try_from(self.random.below(count)).expect("small");
                let name = self.processes[index].name.clone();
                self.api.replicas.remove(&name);
            }
            9 => {
                // Events get lost, or come late: everything is read again.
                self.processes.iter_mut().for_each(|process| process.fresh = false);
            }
            _ => {}
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += self.random.millis(20);
            let now = self.now;
            let (due, late) = std::mem::take(&mut self.late)
                .into_iter()
                .partition(|(at, ..)| *at <= now);
            self.late = late;
            for (_, before, table) in due {
                self.api.write(before, table);
            }
            for index in 0..self.processes.len() {
                if self.processes[index].paused_until <= now && self.random.one_in(2) {
                    self.step(index);
                    self.check();
                }
            }
            self.processes.retain(|process| !process.name.is_empty());
            if self.processes.is_empty() {
                self.start();
            }
            self.disturb();
            self.check();
        }
    }

    fn check(&self) {
        for shard in 0..SHARDS {
            let at_work = |process: &&Process| process.works(shard, self.now);
            let names: Vec<&str> = self
                .processes
                .iter()
                .filter(at_work)
                .map(|process| process.name.as_str())
                .collect();
            assert!(names.len() <= 1, "{names:?} work in shard {shard}");
        }
    }
}

impl Process {
    fn valid(&self, now: Instant) -> bool {
        now < self.valid_until
    }

    fn may_begin(&self, shard: usize, now: Instant) -> bool {
        self.own[shard] != 0 && !self.draining[shard] && self.valid(now)
    }

    /// Whether it may call an author, or has called one and is within its rights.
    fn works(&self, shard: usize, now: Instant) -> bool {
        let busy = self.busy[shard].is_some_and(|until| now < until);
        self.may_begin(shard, now) || busy && self.own[shard] != 0 && self.valid(now)
    }

    fn end_work(&mut self, now: Instant) {
        let valid = self.valid(now);
        for busy in &mut self.busy {
            *busy = busy.filter(|until| now < *until && valid);
        }
    }

    fn renew(&mut self, api: &mut Api, now: Instant, lost: bool, done: bool) {
        if lost && !done {
            self.renew_at = now + LEASE / 15;
            return;
        }
        match api.replicas.get(&self.name).copied() {
            None => self.die(api, now),
            Some(version) if version != self.version => self.version = version,
            Some(_) => {
                let version = api.bump();
                api.replicas.insert(self.name.clone(), version);
                if lost {
                    self.renew_at = now + LEASE / 15;
                    return;
                }
                self.version = version;
                self.valid_until = now + VALID;
                self.renew_at = now + LEASE / 3;
            }
        }
    }

    fn die(&mut self, api: &mut Api, now: Instant) {
        self.own = [0; SHARDS];
        self.draining = [false; SHARDS];
        self.busy = [None; SHARDS];
        self.decided = None;
        self.fresh = false;
        if self.leaving {
            self.name.clear();
            return;
        }
        self.name.push('+');
        let version = api.bump();
        api.replicas.insert(self.name.clone(), version);
        self.protocol.rename(self.name.clone());
        self.version = version;
        self.valid_until = now + VALID;
        self.renew_at = now + LEASE / 3;
    }

    fn leave(&mut self) {
        self.leaving = true;
        self.protocol.leave();
    }

    fn look(&mut self, api: &Api, now: Instant) {
        let listed = |(name, version): (&String, &u64)| Listed {
            name: name.clone(),
            version: version.to_string(),
            lease: LEASE,
        };
        self.protocol
            .listed(api.replicas.iter().map(listed).collect(), now, now);
        self.table.clone_from(&api.table);
        self.protocol.read(self.table.clone().map(|(_, table)| table));
        self.protocol
            .listed(api.replicas.iter().map(listed).collect(), now, now);
        self.fresh = true;
        self.list_at = now + LEASE / 3;
    }

    fn decide(&mut self, now: Instant, unix: u64) {
        if let Some(doubt) = self.doubt {
            match &self.table {
                Some((version, table)) if *version == doubt => {
                    let mut touched = table.clone();
                    touched.epoch += 1;
                    self.decided = Some(Step::Write {
                        table: touched,
                        taken: 0,
                    });
                    return;
                }
                _ => self.doubt = None,
            }
        }
        if let Some((_, table)) = &self.table {
            for (number, shard) in table.shards.iter().enumerate() {
                let own = if shard.owner == self.name { shard.epoch } else { 0 };
                if self.own[number] != own {
                    self.own[number] = own;
                    self.draining[number] = false;
                    self.busy[number] = None;
                }
                self.draining[number] = self.protocol.drains(shard);
            }
        }
        let drained = |shard: usize| self.draining[shard] && self.busy[shard].is_none();
        match self.protocol.next(now, drained, unix) {
            Step::Wait(due) => self.list_at = self.list_at.min(due.unwrap_or(self.list_at)),
            step => self.decided = Some(step),
        }
    }

    /// Carries a decision out; a write that is still on its way is given back.
    fn act(&mut self, step: Step, api: &mut Api, lost: bool, late: bool) -> Option<(Option<u64>, ShardTableSpec)> {
        self.fresh = false;
        match step {
            Step::Bury { name, version } => {
                if !lost && api.replicas.get(&name).is_some_and(|now| now.to_string() == version) {
                    api.replicas.remove(&name);
                    self.protocol.proven_dead(&name);
                }
            }
            Step::Write { table, .. } => {
                let before = self.table.as_ref().map(|(version, _)| *version);
                if lost {
                    self.doubt = before;
                    if late {
                        return Some((before, table));
                    }
                    api.write(before, table);
                } else if api.write(before, table).is_some() {
                    self.doubt = None;
                }
            }
            Step::Leave => {
                api.replicas.remove(&self.name);
                self.name.clear();
            }
            Step::Wait(_) => {}
        }
        None
    }
}

#[test]
fn two_never_work_in_one_shard_and_every_shard_is_owned_in_the_end() {
    for seed in 0..25 {
        let mut world = World {
            now: Instant::now(),
            random: Random(seed),
            api: Api::default(),
            processes: Vec::new(),
            late: Vec::new(),
            started: 0,
            faults: true,
        };
        let count = 1 + world.random.below(4);
        (0..count).for_each(|_| world.start());
        world.run(Duration::from_secs(40));
        world.faults = false;
        world.run(Duration::from_secs(15));
        let table = world.api.table.expect("a table").1;
        let share = SHARDS / world.processes.len();
        for process in &world.processes {
            let owned = table.shards.iter().filter(|shard| shard.owner == process.name).count();
            assert!(
                owned >= share && owned <= share + world.processes.len(),
                "{owned} of {share} in seed {seed}"
            );
            let works = (0..SHARDS).filter(|shard| process.works(*shard, world.now)).count();
            assert_eq!(works, owned, "seed {seed}");
        }
        let all: usize = world
            .processes
            .iter()
            .map(|process| table.shards.iter().filter(|shard| shard.owner == process.name).count())
            .sum();
        assert_eq!(all, SHARDS, "seed {seed}");
    }
}
