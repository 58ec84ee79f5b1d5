//! From a VM's start to its end, and to its next start.

use crate::bundle::manifest::Restart;
use core::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};
use tinyvmm_abi::vms as abi;

/// Exit code of a VM that was killed: what a shell gives for a process that `SIGKILL` has ended.
pub const KILLED_EXIT_CODE: u8 = 137;
/// Exit code of a VM that could not be built: there was not enough memory, or not its disk (`EX_OSERR` of BSD's `sysexits.h`).
const NOT_BUILT_EXIT_CODE: u8 = 71;

/// Wait before a VM starts again, in milliseconds; each time twice as long.
const FIRST_WAIT_MS: u64 = 100;
/// Longest wait before a VM starts again, in milliseconds. A VM that has run as long is as good as new.
const LONGEST_WAIT_MS: u64 = 10_000;

/// What has been asked of a VM, by itself or from outside.
#[derive(Debug, Default)]
pub struct Control(AtomicU32);

impl Control {
    const PAUSED: u32 = 1 << 0;
    const CRASHED: u32 = 1 << 1;
    const RESET: u32 = 1 << 2;
    const KILLED: u32 = 1 << 3;

    /// Keeps its vCPUs from running, or lets them.
    pub fn set_paused(&self, paused: bool) {
        if paused {
            self.set(Self::PAUSED);
        } else {
            self.0.fetch_and(!Self::PAUSED, Ordering::SeqCst);
        }
    }

    /// Whether its vCPUs are kept from running.
    #[must_use]
    #[inline]
    pub fn is_paused(&self) -> bool {
        self.has(Self::PAUSED)
    }

    /// It ends because it did what it may not.
    pub fn set_crashed(&self) {
        self.set(Self::CRASHED);
    }

    /// Once it has ended, it starts anew.
    pub fn set_reset(&self) {
        self.set(Self::RESET);
    }

    /// It is ended from outside.
    pub fn set_killed(&self) {
        self.set(Self::KILLED);
    }

    /// Why a VM has ended. What was asked from outside counts most.
    #[must_use]
    pub fn cause(&self) -> Cause {
        if self.has(Self::KILLED) {
            Cause::Kill
        } else if self.has(Self::CRASHED) {
            Cause::Crash
        } else if self.has(Self::RESET) {
            Cause::Reset
        } else {
            Cause::Exit
        }
    }

    fn set(&self, flag: u32) {
        self.0.fetch_or(flag, Ordering::SeqCst);
    }

    fn has(&self, flag: u32) -> bool {
        self.0.load(Ordering::SeqCst) & flag != 0
    }
}

/// Why a VM has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It said so.
    Exit,
    /// It did what it may not.
    Crash,
    /// It is to start anew.
    Reset,
    /// It was ended from outside.
    Kill,
}

/// What a VM does, in the words of the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has not had a core yet.
    Created,
    /// It runs, or could.
    Running,
    /// It is kept from running.
    Paused,
    /// It has ended.
    Stopped,
    /// It did what it may not, and has ended.
    Crashed,
    /// It has ended and is about to start again.
    Restarting,
}

impl State {
    /// As [`VmInfo::state`](abi::VmInfo) has it.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Created => abi::STATE_CREATED,
            Self::Running => abi::STATE_RUNNING,
            Self::Paused => abi::STATE_PAUSED,
            Self::Stopped => abi::STATE_STOPPED,
            Self::Crashed => abi::STATE_CRASHED,
            Self::Restarting => abi::STATE_RESTARTING,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
            Self::Restarting => "restarting",
        })
    }
}

/// Why something cannot be done with a VM: what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal(pub State);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is {}", self.0)
    }
}

/// Where a VM of the manifest is between its start and its last end. Times are in ticks.
#[derive(Debug)]
pub struct Lifecycle {
    policy: Restart,
    ticks_per_ms: u64,
    phase: Phase,
    /// Ends in a row, none of them long after the start before it.
    short_runs: u32,
    starts: u32,
    /// Its latest one, if it has ever ended.
    exit_code: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It runs since then.
    Alive(u64),
    /// It starts again then.
    Due(u64),
    /// It has ended for good, unless someone wants it to start.
    Over(Cause),
}

impl Lifecycle {
    /// A VM that starts now.
    #[must_use]
    pub const fn new(policy: Restart, ticks_per_ms: u64, now: u64) -> Self {
        Self { phase: Phase::Alive(now), starts: 1, ..Self::stopped(policy, ticks_per_ms) }
    }

    /// A VM that starts when someone wants it to.
    #[must_use]
    pub const fn stopped(policy: Restart, ticks_per_ms: u64) -> Self {
        let phase = Phase::Over(Cause::Exit);
        Self { policy, ticks_per_ms, phase, short_runs: 0, starts: 0, exit_code: None }
    }

    /// It has started again.
    pub fn started(&mut self, now: u64) {
        self.phase = Phase::Alive(now);
        self.starts += 1;
    }

    /// It has ended. Decides whether and when it starts again.
    pub fn ended(&mut self, cause: Cause, code: u8, now: u64) {
        self.exit_code = Some(code);
        if let Phase::Alive(since) = self.phase
            && now.saturating_sub(since) >= LONGEST_WAIT_MS * self.ticks_per_ms
        {
            self.short_runs = 0;
        }
        self.phase = match self.wait(cause) {
            Some(wait) => Phase::Due(now.saturating_add(wait * self.ticks_per_ms)),
            None => Phase::Over(cause),
        };
    }

    /// Milliseconds until the next start after an end, if there is one.
    fn wait(&mut self, cause: Cause) -> Option<u64> {
        let fails = cause == Cause::Crash || self.exit_code() != 0;
        let again = match (cause, self.policy) {
            (Cause::Kill, _) => false,
            (Cause::Reset, _) | (_, Restart::Always) => true,
            (_, Restart::OnFailure) => fails,
            (_, Restart::Never) => false,
        };
        if !again {
            return None;
        }
        let before = self.short_runs;
        self.short_runs += 1;
        // A reset is what the guest wants, at once; but one after the other would cost all VMs time.
        match (cause, before) {
            (Cause::Reset, 0) => Some(0),
            (Cause::Reset, resets) => Some(back_off(resets - 1)),
            (_, ends) => Some(back_off(ends)),
        }
    }

    /// It is to start at once.
    pub fn start(&mut self, now: u64) {
        self.phase = Phase::Due(now);
        self.short_runs = 0;
    }

    /// It is not to start again.
    pub fn cancel(&mut self) {
        self.phase = Phase::Over(Cause::Exit);
    }

    /// It could not be built, and is not to start again.
    pub fn fail(&mut self) {
        self.exit_code = Some(NOT_BUILT_EXIT_CODE);
        self.cancel();
    }

    /// When it starts again, if it has ended and does.
    #[must_use]
    pub const fn due(&self) -> Option<u64> {
        match self.phase {
            Phase::Due(at) => Some(at),
            Phase::Alive(_) | Phase::Over(_) => None,
        }
    }

    /// Whether it runs.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Alive(_))
    }

    /// Whether it has ended for good.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_))
    }

    /// What it does, where that does not depend on its vCPUs.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Alive(_) => State::Running,
            Phase::Due(_) => State::Restarting,
            Phase::Over(Cause::Crash) => State::Crashed,
            Phase::Over(_) => State::Stopped,
        }
    }

    /// How often it was started again.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.starts.saturating_sub(1)
    }

    /// Its latest exit code; 0 if it has never ended.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit_code.unwrap_or(0)
    }

    /// Its exit code, if it has ended for good.
    ///
    /// # Errors
    /// What it does instead; [`State::Stopped`] if it was never started.
    pub fn final_exit_code(&self) -> Result<u8, State> {
        self.exit_code.filter(|_| self.is_over()).ok_or(self.state())
    }
}

/// The wait after this many waits, in milliseconds.
fn back_off(waits: u32) -> u64 {
    // From the seventh on it is the longest.
    (FIRST_WAIT_MS << waits.min(7)).min(LONGEST_WAIT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const MS: u64 = 1000;

    /// How long a VM waits after each of these ends, each 1 ms after the start, in milliseconds.
    fn waits(policy: Restart, ends: &[(Cause, u8)]) -> Vec<Option<u64>> {
        let mut now = 5 * MS;
        let mut vm = Lifecycle::new(policy, MS, now);
        let mut waits = Vec::new();
        for (cause, code) in ends {
            now += MS;
            vm.ended(*cause, *code, now);
            waits.push(vm.due().map(|due| (due - now) / MS));
            now = vm.due().unwrap_or(now);
            vm.started(now);
        }
        waits
    }

    #[test]
    fn the_policy_decides() {
        let ends = [(Cause::Exit, 0), (Cause::Exit, 1), (Cause::Crash, 70), (Cause::Kill, 137)];
        assert_eq!(waits(Restart::Never, &ends), [None; 4]);
        assert_eq!(waits(Restart::OnFailure, &ends), [None, Some(100), Some(200), None]);
        assert_eq!(waits(Restart::Always, &ends), [Some(100), Some(200), Some(400), None]);
    }

    #[test]
    fn waits_double_up_to_a_limit() {
        let waits = waits(Restart::Always, &[(Cause::Exit, 0); 9]);
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000].map(Some);
        assert_eq!(waits, expected);
    }

    #[test]
    fn a_reset_is_done_at_once_unless_it_follows_another() {
        let waits = waits(Restart::Never, &[(Cause::Reset, 0); 4]);
        assert_eq!(waits, [0, 100, 200, 400].map(Some));
    }

    #[test]
    fn a_long_run_ends_the_back_off() {
        let mut vm = Lifecycle::new(Restart::OnFailure, MS, 0);
        vm.ended(Cause::Crash, 70, MS);
        vm.started(101 * MS);
        vm.ended(Cause::Crash, 70, 101 * MS + 9_999 * MS);
        assert_eq!(vm.due(), Some(10_100 * MS + 200 * MS));
        vm.started(20_000 * MS);
        vm.ended(Cause::Crash, 70, 30_000 * MS);
        assert_eq!(vm.due(), Some(30_100 * MS));
    }

    #[test]
    fn states_follow_the_phases() {
        let mut vm = Lifecycle::new(Restart::OnFailure, MS, 0);
        assert_eq!((vm.state(), vm.restarts(), vm.is_over()), (State::Running, 0, false));
        vm.ended(Cause::Exit, 3, 1);
        assert_eq!((vm.state(), vm.exit_code(), vm.is_over()), (State::Restarting, 3, false));
        vm.cancel();
        assert_eq!((vm.state(), vm.is_over()), (State::Stopped, true));
        vm.start(7);
        assert_eq!(vm.due(), Some(7));
        vm.started(8);
        assert_eq!((vm.restarts(), vm.due()), (1, None));
        let mut third = Lifecycle::stopped(Restart::Always, MS);
        assert_eq!((third.state(), third.final_exit_code()), (State::Stopped, Err(State::Stopped)));
        third.start(3);
        third.started(4);
        assert_eq!((third.restarts(), third.final_exit_code()), (0, Err(State::Running)));
        third.ended(Cause::Kill, 137, 5);
        assert_eq!(third.final_exit_code(), Ok(137));
        third.start(6);
        assert_eq!(third.final_exit_code(), Err(State::Restarting), "of its next run");
        third.fail();
        assert_eq!(third.final_exit_code(), Ok(NOT_BUILT_EXIT_CODE));
        let mut other = Lifecycle::new(Restart::Never, MS, 0);
        other.ended(Cause::Crash, 70, 1);
        assert_eq!((other.state(), other.is_over()), (State::Crashed, true));
    }

    #[test]
    fn what_is_asked_from_outside_counts_most() {
        let control = Control::default();
        assert_eq!((control.cause(), control.is_paused()), (Cause::Exit, false));
        control.set_paused(true);
        control.set_reset();
        assert_eq!((control.cause(), control.is_paused()), (Cause::Reset, true));
        control.set_crashed();
        assert_eq!(control.cause(), Cause::Crash);
        control.set_killed();
        control.set_paused(false);
        assert_eq!((control.cause(), control.is_paused()), (Cause::Kill, false));
    }
}
