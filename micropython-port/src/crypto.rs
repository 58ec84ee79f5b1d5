//! MD5, SHA-1 and AES for upstream's `hashlib` and `cryptolib`, behind the functions of the library that upstream uses
//! for them: `lib/axtls/crypto/crypto.h` declares them for C.
//!
//! # Safety
//!
//! Of all functions here: a context is one of the header's types, and initialised but for the functions that do so;
//! other pointers lead to as many bytes as the header or `length` says.

use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use aes::{Aes128, Aes256, Block};
use md5::{Digest, Md5};
use sha1::Sha1;

/// Bytes of a block of AES.
const BLOCK_SIZE: usize = 16;
/// `AES_MODE_128` of the header.
const MODE_128: u32 = 0;

/// What a context of a hash function has room for.
const HASH_ROOM: usize = 128;
/// What a context of AES has room for besides its vector.
const AES_ROOM: usize = 1024;

const _: () = assert!(size_of::<Md5>() <= HASH_ROOM && size_of::<Sha1>() <= HASH_ROOM);
const _: () = assert!(size_of::<Cipher>() <= AES_ROOM && align_of::<Cipher>() <= align_of::<u64>());

/// AES with one of the keys that upstream allows.
#[expect(clippy::large_enum_variant, reason = "it lives in the context, which has room for either")]
enum Cipher {
    Short(Aes128),
    Long(Aes256),
}

/// `AES_CTX`.
#[repr(C)]
struct Aes {
    iv: [u8; BLOCK_SIZE],
    cipher: Cipher,
}

impl Aes {
    fn encrypt(&self, block: [u8; BLOCK_SIZE]) -> [u8; BLOCK_SIZE] {
        let mut block = Block::from(block);
        match &self.cipher {
            Cipher::Short(aes) => aes.encrypt_block(&mut block),
            Cipher::Long(aes) => aes.encrypt_block(&mut block),
        }
        block.into()
    }

    fn decrypt(&self, block: [u8; BLOCK_SIZE]) -> [u8; BLOCK_SIZE] {
        let mut block = Block::from(block);
        match &self.cipher {
            Cipher::Short(aes) => aes.decrypt_block(&mut block),
            Cipher::Long(aes) => aes.decrypt_block(&mut block),
        }
        block.into()
    }
}

/// Defines the three functions of a hash function.
macro_rules! hash {
    ($hash:ty, $init:ident, $update:ident, $final:ident) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $init(context: *mut $hash) {
            // SAFETY: there is room for it.
            unsafe { context.write(<$hash>::new()) };
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $update(context: *mut $hash, bytes: *const u8, length: usize) {
            // SAFETY: the caller's promise.
            unsafe { (*context).update(core::slice::from_raw_parts(bytes, length)) };
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $final(digest: *mut u8, context: *mut $hash) {
            // SAFETY: the caller's promise. The context is not used again.
            unsafe {
                let result = context.read().finalize();
                digest.copy_from_nonoverlapping(result.as_ptr(), result.len());
            }
        }
    };
}

hash!(Md5, MD5_Init, MD5_Update, MD5_Final);
hash!(Sha1, SHA1_Init, SHA1_Update, SHA1_Final);

#[unsafe(no_mangle)]
unsafe extern "C" fn AES_set_key(context: *mut Aes, key: *const u8, iv: *const u8, mode: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        let cipher = match mode {
            MODE_128 => Cipher::Short(Aes128::new(&key.cast::<[u8; 16]>().read().into())),
            _ => Cipher::Long(Aes256::new(&key.cast::<[u8; 32]>().read().into())),
        };
        let iv = if iv.is_null() { [0; BLOCK_SIZE] } else { iv.cast::<[u8; BLOCK_SIZE]>().read() };
        context.write(Aes { iv, cipher });
    }
}

/// A block as four numbers, high bytes first.
fn from_words(words: [u32; 4]) -> [u8; BLOCK_SIZE] {
    core::array::from_fn(|index| words[index / 4].to_be_bytes()[index % 4])
}

fn to_words(block: [u8; BLOCK_SIZE]) -> [u32; 4] {
    core::array::from_fn(|index| u32::from_be_bytes(core::array::from_fn(|byte| block[index * 4 + byte])))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn AES_encrypt(context: *const Aes, block: *mut [u32; 4]) {
    // SAFETY: the caller's promise; the block may not be aligned.
    unsafe { block.write_unaligned(to_words((*context).encrypt(from_words(block.read_unaligned())))) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn AES_decrypt(context: *const Aes, block: *mut [u32; 4]) {
    // SAFETY: as above.
    unsafe { block.write_unaligned(to_words((*context).decrypt(from_words(block.read_unaligned())))) };
}

fn xor(a: [u8; BLOCK_SIZE], b: [u8; BLOCK_SIZE]) -> [u8; BLOCK_SIZE] {
    core::array::from_fn(|index| a[index] ^ b[index])
}

#[unsafe(no_mangle)]
unsafe extern "C" fn AES_cbc_encrypt(context: *mut Aes, from: *const u8, to: *mut u8, length: usize) {
    for index in 0..length / BLOCK_SIZE {
        // SAFETY: the caller's promise: whole blocks, of which `to` may be the same as `from`.
        unsafe {
            let block = from.cast::<[u8; BLOCK_SIZE]>().add(index).read();
            (*context).iv = (*context).encrypt(xor(block, (*context).iv));
            to.cast::<[u8; BLOCK_SIZE]>().add(index).write((*context).iv);
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn AES_cbc_decrypt(context: *mut Aes, from: *const u8, to: *mut u8, length: usize) {
    for index in 0..length / BLOCK_SIZE {
        // SAFETY: as above.
        unsafe {
            let block = from.cast::<[u8; BLOCK_SIZE]>().add(index).read();
            let plain = xor((*context).decrypt(block), (*context).iv);
            (*context).iv = block;
            to.cast::<[u8; BLOCK_SIZE]>().add(index).write(plain);
        }
    }
}
