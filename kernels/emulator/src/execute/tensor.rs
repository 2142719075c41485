//! The tensor core's product, and the load that feeds it.
//!
//! Which element of a matrix lies in which lane is that of the PTX manual, "Matrix Fragments for mma.m16n8k16" and ".m16n8k8".

use half::{bf16, f16};

use super::numbers::Canonical;
use crate::block::{Block, Done};
use crate::isa::{Address, Mma, Operand, Register, Space};
use crate::memory::Access;
use crate::warp::{ALL, Warp};

/// `d = a b + c`, with exact products and sums rounded once; hardware rounds more often, in an order of its own.
pub(super) fn multiply(
    warp: &mut Warp,
    how: Mma,
    d: &[Register; 4],
    a: &[Operand; 4],
    b: &[Operand; 2],
    c: &[Operand; 4],
) {
    let (a, b) = (a.map(|a| warp.row::<u32>(a)), b.map(|b| warp.row::<u32>(b)));
    let c = c.map(|c| warp.row::<f32>(c));
    let (mut left, mut right) = ([[0f64; 16]; 16], [[0f64; 8]; 16]);
    let depth = if how == Mma::Tf32 { 8 } else { 16 };
    for lane in 0..32 {
        let (group, member) = (lane / 4, lane % 4);
        for (register, row) in a.iter().enumerate() {
            let at = group + 8 * (register % 2);
            for (column, value) in elements(how, row[lane], member, register / 2) {
                left[at][column] = value;
            }
        }
        for (register, row) in b.iter().enumerate() {
            for (at, value) in elements(how, row[lane], member, register) {
                right[at][group] = value;
            }
        }
    }
    for (register, (&d, c)) in d.iter().zip(&c).enumerate() {
        let row: [f32; 32] = std::array::from_fn(|lane| {
            let (at, column) = (lane / 4 + 8 * (register / 2), lane % 4 * 2 + register % 2);
            let sum: f64 = (0..depth).map(|k| left[at][k] * right[k][column]).sum();
            ((sum + f64::from(c[lane])) as f32).canonical()
        });
        warp.write(d, ALL, &row);
    }
}

/// The elements in one register, with their places along the sum; `half` tells the first half of the sum from the second.
fn elements(how: Mma, bits: u32, member: usize, half: usize) -> impl Iterator<Item = (usize, f64)> {
    let of = move |bits: u16| match how {
        Mma::F16 => f16::from_bits(bits).to_f64(),
        _ => bf16::from_bits(bits).to_f64(),
    };
    let list = match how {
        // The lowest 13 bits do not count.
        Mma::Tf32 => [Some((member + 4 * half, f64::from(f32::from_bits(bits & !0x1fff)))), None],
        Mma::Bf16 | Mma::F16 => {
            let first = 2 * member + 8 * half;
            [Some((first, of(bits as u16))), Some((first + 1, of((bits >> 16) as u16)))]
        }
    };
    list.into_iter().flatten()
}

impl Block<'_> {
    /// Each lane of a group of eight names a row of 16 bytes; each lane gets two neighbouring elements of each matrix.
    pub(super) fn load_matrix(
        &mut self,
        warp: &mut Warp,
        transposed: bool,
        d: &[Register],
        address: Address,
        line: u32,
    ) -> Done {
        let addresses = self.addresses(warp, address);
        let used = if d.len() == 4 { ALL } else { (1 << (8 * d.len())) - 1 };
        self.counters.shared(&self.banks.serve(&addresses, used, 16));
        for (matrix, &d) in d.iter().enumerate() {
            let mut rows = [[0u32; 8]; 8];
            for (i, row) in rows.iter_mut().enumerate() {
                let lane = 8 * matrix + i;
                let spot = self.spot(warp, (Space::Shared, line), lane, addresses[lane], 16, Access::Read)?;
                *row = std::array::from_fn(|column| self.get(warp, spot, 2 * column, 2) as u32);
            }
            let element = |row: usize, column: usize| if transposed { rows[column][row] } else { rows[row][column] };
            let words: [u32; 32] = std::array::from_fn(|lane| {
                let (row, column) = (lane / 4, lane % 4 * 2);
                element(row, column) | element(row, column + 1) << 16
            });
            warp.write(d, ALL, &words);
        }
        Ok(())
    }
}
