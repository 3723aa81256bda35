use alloc::vec;

use super::*;
use crate::errno::EFAULT;
use crate::host::fake::FakeHost;
use crate::host::{Frames, Host};
use crate::io::{Sink, SliceSource, Source, VecSink};

fn ram(limit: u64) -> Arc<Ram> {
    Ram::new(FakeHost::new(1).ram(), limit)
}

fn read(cache: &PageCache, offset: u64, len: usize) -> Vec<u8> {
    let mut sink = VecSink::new(len);
    cache.read_at(offset, &mut sink).unwrap();
    sink.bytes
}

fn random(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*seed >> 33) % below
}

#[test]
fn agrees_with_a_vector_of_bytes() {
    for seed in 0..8 {
        let mut seed = seed;
        let ram = ram(64 << 20);
        let blob: Vec<u8> = (0..50_000u32).map(|n| (n / 7) as u8 | 1).collect();
        let mut model = if seed % 2 == 0 { Vec::new() } else { blob.clone() };
        let backing = match seed % 2 {
            0 => Backing::Empty,
            _ => Backing::Blob { owner: Arc::new(blob), offset: 0, len: usize::MAX },
        };
        let cache = PageCache::new(&ram, backing);
        for step in 0..400 {
            let offset = random(&mut seed, 90_000);
            let len = random(&mut seed, 20_000) as usize;
            match random(&mut seed, 6) {
                0 => {
                    cache.truncate(offset).unwrap();
                    model.resize(offset as usize, 0);
                }
                1 => {
                    cache.punch_hole(offset, len as u64).unwrap();
                    let end = model.len().min(offset as usize + len);
                    if let Some(part) = model.get_mut(offset as usize..end) {
                        part.fill(0);
                    }
                }
                2 => {
                    let bytes = vec![step as u8; len];
                    assert_eq!(cache.append(&mut SliceSource(&bytes)), Ok((model.len() as u64, len)));
                    model.extend_from_slice(&bytes);
                }
                3 => {
                    let whole = page_down(offset)..page_up(offset + 1);
                    if let Some((part, at)) = cache.map_around(offset, &whole, &whole).unwrap() {
                        // A guest scribbles behind the end of the file.
                        let end = model.len() as u64;
                        if part.contains(&end) {
                            let tail = Phys(at.0 + (end - part.start));
                            ram.frames.write(tail, &vec![0xee; (part.end - end) as usize]);
                        }
                        ram.release(at, part.end - part.start);
                    } else {
                        assert!(offset >= page_up(model.len() as u64));
                    }
                }
                _ => {
                    let bytes = vec![step as u8; len];
                    assert_eq!(cache.write_at(offset, &mut SliceSource(&bytes)), Ok(len));
                    let end = offset as usize + len;
                    if len > 0 {
                        model.resize(model.len().max(end), 0);
                        model[offset as usize..end].copy_from_slice(&bytes);
                    }
                }
            }
            assert_eq!(cache.len(), model.len() as u64);
            assert!(read(&cache, 0, 200_000) == model, "step {step}");
        }
        drop(cache);
        assert_eq!(ram.free(), ram.total(), "nothing is held any more");
    }
}

#[test]
fn reading_a_blob_takes_no_ram() {
    let ram = ram(1 << 20);
    let owner: Arc<dyn Blob> = Arc::new(vec![5; 10_000]);
    let cache = PageCache::new(&ram, Backing::Blob { owner, offset: 1000, len: 8000 });
    assert_eq!(read(&cache, 100, 10_000), vec![5; 7900]);
    assert_eq!((cache.resident_bytes(), cache.allocated_bytes()), (0, 8192));
    assert_eq!((cache.next_data(10), cache.next_hole(10)), (Ok(10), Ok(8000)));
    cache.punch_hole(0, 4096).unwrap();
    assert_eq!((cache.next_data(0), cache.next_hole(0)), (Ok(4096), Ok(0)));
    assert_eq!(cache.allocated_bytes(), 4096);
}

/// A source whose memory ends after some bytes.
struct Faulty(usize);

impl Source for Faulty {
    fn remaining(&self) -> usize {
        self.0 + 100
    }
    fn take(&mut self, buf: &mut [u8]) -> Result<usize> {
        let len = buf.len().min(self.0);
        self.0 -= len;
        if len == 0 { Err(EFAULT) } else { Ok(len) }
    }
    fn take_frames(&mut self, ram: &dyn Frames, at: Phys, len: usize) -> Result<usize> {
        let mut bytes = vec![7; len];
        let len = self.take(&mut bytes)?;
        ram.write(at, &bytes[..len]);
        Ok(len)
    }
}

#[test]
fn short_writes_leave_the_length_right() {
    let ram = ram(1 << 20);
    let cache = PageCache::new(&ram, Backing::Empty);
    assert_eq!(cache.write_at(0, &mut Faulty(5000)), Ok(5000));
    assert_eq!(cache.len(), 5000);
    assert_eq!(cache.append(&mut Faulty(0)), Err(EFAULT));
    assert_eq!(cache.append(&mut Faulty(10)), Ok((5000, 10)));
    assert_eq!((cache.len(), cache.resident_bytes()), (5010, 8192));
    assert_eq!(cache.write_at(1 << 40, &mut Faulty(0)), Err(EFAULT));
    assert_eq!((cache.len(), cache.resident_bytes()), (5010, 8192));
    let much = vec![1; 4 << 20];
    let written = cache.write_at(8192, &mut SliceSource(&much)).unwrap();
    assert_eq!(written as u64, (1 << 20) - 8192, "a write takes what RAM is left");
    assert_eq!(cache.write_at(4 << 20, &mut SliceSource(&much)), Err(ENOSPC));
    assert_eq!(cache.write_at(MAX_FILE_LEN, &mut SliceSource(&much)), Err(EFBIG));
    cache.truncate(0).unwrap();
    assert_eq!(ram.free(), ram.total());
}

/// Cuts the file off while it is read from.
struct Cutter<'a>(&'a PageCache, Vec<u8>);

impl Sink for Cutter<'_> {
    fn remaining(&self) -> usize {
        3 * PAGE_SIZE as usize - self.1.len()
    }
    fn put(&mut self, _: &[u8]) -> Result<usize> {
        Err(EFAULT)
    }
    fn put_frames(&mut self, ram: &dyn Frames, at: Phys, len: usize) -> Result<usize> {
        self.0.truncate(1)?;
        // Whoever gets memory now must not get what is being copied.
        self.0.truncate(u64::from(u32::MAX))?;
        self.0.write_at(0, &mut SliceSource(&[2; 4 * PAGE_SIZE as usize]))?;
        let mut bytes = alloc::vec![0; len];
        ram.read(at, &mut bytes);
        self.1.append(&mut bytes);
        Ok(len)
    }
    fn put_zeros(&mut self, _: usize) -> Result<usize> {
        Err(EFAULT)
    }
}

#[test]
fn what_is_cut_off_lives_until_it_is_copied() {
    let ram = ram(1 << 20);
    let cache = PageCache::new(&ram, Backing::Empty);
    cache.write_at(0, &mut SliceSource(&[1; 4 * PAGE_SIZE as usize])).unwrap();
    let mut cutter = Cutter(&cache, Vec::new());
    assert_eq!(cache.read_at(PAGE_SIZE, &mut cutter), Ok(3 * PAGE_SIZE as usize));
    assert!(cutter.1.iter().all(|&byte| byte == 1));
    drop(cache);
    assert_eq!(ram.free(), 1 << 20);
}
