//! File systems and special files.
pub mod archive;
pub mod cgroup;
pub mod dev;
pub mod devpts;
pub mod ext4;
pub mod hostfs;
pub mod made;
pub mod nsfs;
pub mod overlay;
pub mod proc;
pub mod pseudo;
pub mod stream;
pub mod sys;
pub mod tmpfs;
