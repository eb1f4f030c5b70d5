//! Random storms on one connection against a naive model: a byte is its offset, so order and loss show at once.

use proptest::prelude::*;

use super::*;
use crate::world::engine::{Burst, LinkRule, Ratio};

#[derive(Debug, Clone, Copy)]
enum Step {
    Write { side: usize, bytes: usize },
    Read { side: usize, bytes: usize },
    Run { us: u64 },
    Block { side: usize },
    Unblock { side: usize },
    Hold { side: usize },
    Release { side: usize },
    Loss { side: usize, num: u32 },
    Shutdown { side: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let side = 0..2usize;
    prop_oneof![
        6 => (side.clone(), 1..5000usize).prop_map(|(side, bytes)| Step::Write { side, bytes }),
        6 => (side.clone(), 1..5000usize).prop_map(|(side, bytes)| Step::Read { side, bytes }),
        6 => (0..3_000_000u64).prop_map(|us| Step::Run { us: us / 10 }),
        2 => (0..2000u64).prop_map(|us| Step::Run { us }),
        1 => side.clone().prop_map(|side| Step::Block { side }),
        1 => side.clone().prop_map(|side| Step::Unblock { side }),
        1 => side.clone().prop_map(|side| Step::Hold { side }),
        1 => side.clone().prop_map(|side| Step::Release { side }),
        1 => (side.clone(), 0..4u32).prop_map(|(side, num)| Step::Loss { side, num }),
        1 => side.prop_map(|side| Step::Shutdown { side }),
    ]
}

/// A connection and what its programs know.
struct Model {
    sim: Sim,
    key: [SocketKey; 2],
    written: [u64; 2],
    read: [u64; 2],
    ended: [bool; 2],
    eof: [bool; 2],
    failed: Option<io::ErrorKind>,
}

const WAY: [(HostId, HostId); 2] = [(A, B), (B, A)];

fn byte(side: usize, offset: u64) -> u8 {
    (offset.wrapping_mul(31) >> 3) as u8 ^ (side as u8) << 7
}

impl Model {
    fn write(&mut self, side: usize, bytes: usize) {
        let begin = self.written[side];
        let data: Vec<u8> = (begin..begin + bytes as u64).map(|at| byte(side, at)).collect();
        match self.sim.write(self.key[side], &data) {
            Some(Ok(n)) => self.written[side] += n as u64,
            Some(Err(kind)) if !self.ended[side] => self.failed = Some(kind),
            _ => {}
        }
    }

    /// Whether there was something to read.
    fn read(&mut self, side: usize, bytes: usize) -> bool {
        let from = 1 - side;
        match self.sim.read(self.key[side], bytes) {
            Some(Ok(got)) if got.is_empty() => {
                self.eof[side] = true;
                assert!(self.failed.is_some() || self.ended[from]);
                let whole = self.read[from] == self.written[from];
                assert!(whole || self.sim.seen(NetWhat::TimedOut) > 0);
                false
            }
            Some(Ok(got)) => {
                for b in got {
                    assert_eq!(b, byte(from, self.read[from]), "offset {}", self.read[from]);
                    self.read[from] += 1;
                }
                assert!(self.read[from] <= self.written[from]);
                true
            }
            Some(Err(kind)) => {
                self.failed = Some(kind);
                false
            }
            None => false,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write { side, bytes } => self.write(side, bytes),
            Step::Read { side, bytes } => drop(self.read(side, bytes)),
            Step::Run { us } => self.sim.run(Duration::from_micros(us)),
            Step::Block { side } => self.sim.net.block(WAY[side].0, WAY[side].1),
            Step::Unblock { side } => self.sim.net.unblock(WAY[side].0, WAY[side].1),
            Step::Hold { side } => self.sim.net.hold(WAY[side].0, WAY[side].1),
            Step::Release { side } => self.sim.with(|net, cx| net.release(cx, WAY[side].0, WAY[side].1)),
            Step::Loss { side, num } => {
                let burst = Burst { enter: Ratio { num, den: 50 }, exit: Ratio { num: 1, den: 3 } };
                let rule = LinkRule { loss: Ratio { num, den: 10 }, burst: Some(burst), ..self.sim.net.config().link };
                self.sim.net.set_link(WAY[side].0, WAY[side].1, (num > 0).then_some(rule));
            }
            Step::Shutdown { side } => {
                self.sim.shutdown(self.key[side]);
                self.ended[side] = true;
            }
        }
    }

    fn heal(&mut self, steps: usize) {
        for (src, dst) in WAY {
            for _ in 0..steps {
                self.sim.net.unblock(src, dst);
                self.sim.with(|net, cx| net.release(cx, src, dst));
            }
            self.sim.net.set_link(src, dst, None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_in_order_and_all_of_them_after_heal(
        steps in prop::collection::vec(step(), 1..80),
        buffers in (200..9000u32, 200..9000u32, 100..4000u32),
        narrow in proptest::option::of(50_000..5_000_000u64),
        high_us in 1000..60_000u64,
        retries in 3..16u32,
    ) {
        let mut config = config();
        (config.tcp.send_buffer, config.tcp.receive_buffer, config.tcp.segment) = buffers;
        config.tcp.retries = retries;
        config.link.bandwidth = narrow;
        config.link.latency = Latency::Uniform { low: MS, high: Duration::from_micros(high_us) };
        let mut sim = Sim::new(config);
        let listener = sim.listen(B, 80);
        let client = sim.connect(A, addr(B, 80));
        sim.run(SEC);
        let server = sim.accept(listener).unwrap();
        let key = [client, server];
        let mut model =
            Model { sim, key, written: [0; 2], read: [0; 2], ended: [false; 2], eof: [false; 2], failed: None };
        let count = steps.len();
        for step in steps {
            model.step(step);
        }
        model.heal(count);
        // Longer than the longest retransmission timeout, as long as something moves.
        let mut quiet = 0;
        while quiet < 130 {
            model.sim.run(SEC);
            let moved = model.read(0, 1 << 20) | model.read(1, 1 << 20);
            quiet = if moved { 0 } else { quiet + 1 };
        }
        if model.sim.seen(NetWhat::TimedOut) == 0 {
            prop_assert_eq!(model.failed, None);
            prop_assert_eq!(model.read, model.written);
            prop_assert_eq!(model.eof, [model.ended[1], model.ended[0]]);
        } else if let Some(kind) = model.failed {
            // Documented: the sender gave up, or its peer learned of it.
            use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};
            prop_assert!(matches!(kind, TimedOut | ConnectionReset | BrokenPipe));
        }
        model.sim.close(client);
        model.sim.close(server);
        model.sim.drain();
        prop_assert_eq!(model.sim.net.connections(), 0);
    }
}
