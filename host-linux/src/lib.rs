//! What both Linux hosts of Lodger share: guest RAM, fibers, vCPU sleep and kicks, clocks, byte streams, the terminal.
//!
//! Nothing here knows how guest address spaces are kept; `host-linux-skas` and `host-linux-tt` do. The files:
//!
//! * [`backend`]: what frontends ask of a host.
//! * [`ram`]: guest RAM, one sparse memfd.
//! * [`fiber`]: stackful contexts for kernel code.
//! * [`kick`]: the sticky token that ends a vCPU's run or sleep.
//! * [`watcher`]: the one helper thread; it waits for streams and deadlines and kicks.
//! * [`stream`], [`terminal`]: the host's descriptors as byte streams, its terminal in raw mode.
//! * [`mapped`]: a file as bytes; [`disk`]: files as block devices; [`tree`]: a directory with everything below it.
//! * [`heap`]: the kernel's own memory, counted.
//! * [`host`]: the host that all of this makes, but for how address spaces are kept and guest threads are trapped.
//! * [`vcpu`]: who runs on the vCPU, how that is interrupted, and on which processor.
//! * [`trap`]: what it means for the guest that its thread stopped; [`xstate`], [`resident`]: its vector state.
//! * [`traced`]: guests as traced threads; [`batch`]: changes of a guest address space.
//! * [`clock`], [`affinity`]: time, chance, processors; [`vm`]: what the host allows of address spaces.
//! * [`lockdown`]: what this process gives up before guests run.
//! * [`sealed`], [`patience`], [`timer`], [`bare`]: how a process ends well whose memory may be wrecked.

pub mod affinity;
pub mod backend;
pub mod bare;
pub mod batch;
pub mod clock;
pub mod cpu;
pub mod disk;
pub mod fiber;
pub mod heap;
pub mod host;
pub mod kick;
pub mod lockdown;
pub mod mapped;
pub mod patience;
pub mod ram;
pub mod resident;
pub mod sealed;
pub mod stream;
pub mod terminal;
pub mod timer;
pub mod traced;
pub mod trap;
pub mod tree;
pub mod vcpu;
pub mod vm;
pub mod watcher;
pub mod xstate;
