//! A software OpenPGP card. Its storage is a file, so that it can be taken out and put in again:
//!
//!     virtual-card STORAGE PORT SERIAL
//!
//! PORT is that of a reader's slot, on the loopback address. The card is in it until the process ends.

mod backends;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use iso7816::{command::Command, Instruction, Status};
use trussed::virt::{with_platform, StorageConfig, StoreConfig};
use vpicc::VSmartCard;

/// The longest command and answer, of ISO 7816-4's extended length that the card's own buffers take.
const LONGEST: usize = 7609;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [storage, port, serial] = arguments.as_slice() else {
        panic!("usage: virtual-card STORAGE PORT SERIAL");
    };
    let port: u16 = port.parse().expect("PORT is a number");
    let serial: u32 = serial.parse().expect("SERIAL is a number");
    let store = StoreConfig {
        internal: StorageConfig::ram(),
        external: StorageConfig::filesystem(PathBuf::from(storage)),
        volatile: StorageConfig::ram(),
    };
    with_platform(store, |platform| {
        platform.run_client_with_backends(
            "opcard",
            backends::Dispatch::new(),
            backends::BACKENDS,
            |client| {
                let mut options = opcard::Options::default();
                options.manufacturer = [0xff, 0xfe]; // of the range for tests
                options.serial = serial.to_be_bytes();
                options.button_available = false;
                let mut card = Reader {
                    card: opcard::Card::new(client, options),
                    chained: None,
                    answer: Vec::new(),
                };
                let slot = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                let connection = vpicc::connect_socket(slot).expect("a reader listens");
                println!("in the reader");
                let ended = connection.run(&mut card);
                eprintln!("the reader is gone: {ended:?}");
            },
        )
    });
}

/// The card, with what a reader's driver otherwise does: chained commands, and answers in pieces.
struct Reader<C: opcard::Client> {
    card: opcard::Card<C>,
    chained: Option<Command<LONGEST>>,
    answer: Vec<u8>,
}

impl<C: opcard::Client> Reader<C> {
    fn handle(&mut self, request: &[u8]) -> Result<usize, Status> {
        let command = Command::<LONGEST>::try_from(request).map_err(|_| Status::WrongLength)?;
        if command.instruction() == Instruction::GetResponse {
            return Ok(command.expected());
        }
        self.answer.clear();
        let last = command.class().chain().last_or_only();
        let whole = match self.chained.take() {
            None => command,
            Some(mut begun) => {
                begun
                    .extend_from_command(&command)
                    .map_err(|_| Status::WrongLength)?;
                begun
            }
        };
        if !last {
            self.chained = Some(whole);
            return Ok(0);
        }
        let mut reply = heapless::Vec::<u8, LONGEST>::new();
        self.card.handle(whole.as_view(), &mut reply)?;
        self.answer.extend_from_slice(&reply);
        Ok(whole.expected())
    }
}

impl<C: opcard::Client> VSmartCard for Reader<C> {
    fn power_off(&mut self) {
        self.card.reset();
    }

    fn reset(&mut self) {
        self.card.reset();
    }

    fn execute(&mut self, request: &[u8]) -> Vec<u8> {
        let (mut reply, status) = match self.handle(request) {
            Err(status) => (Vec::new(), status),
            Ok(most) => {
                let piece: Vec<u8> = self.answer.drain(..most.min(self.answer.len())).collect();
                let rest = u8::try_from(self.answer.len()).unwrap_or(u8::MAX);
                let more = rest > 0;
                (piece, if more { Status::MoreAvailable(rest) } else { Status::Success })
            }
        };
        let status: [u8; 2] = status.into();
        reply.extend_from_slice(&status);
        reply
    }
}
