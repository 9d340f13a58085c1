//! The faults of a descriptor.

use std::fmt;
use std::io;

use rustix::fs::FileType;

#[derive(Debug)]
pub(crate) enum Fault {
    Closed,
    CloseOnExec,
    NotASocket(FileType),
    NotListening(&'static str),
    Os(io::Error),
    Taken,
    WrongType(String),
}

impl From<rustix::io::Errno> for Fault {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::from(io::Error::from(errno))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error()) {
            true => Self::Closed,
            false => Self::Os(error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it is not open"),
            Self::CloseOnExec => {
                f.write_str("it is close-on-exec, so it was opened or taken in this process")
            }
            Self::NotASocket(file) => write!(f, "it is a {}, not a socket", file_name(*file)),
            Self::NotListening(why) => f.write_str(why),
            Self::Os(_) => f.write_str("the system does not report its type"),
            Self::Taken => f.write_str("it was taken before, and each number is taken once"),
            Self::WrongType(why) => f.write_str(why),
        }
    }
}

fn file_name(file: FileType) -> &'static str {
    match file {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Fifo => "pipe",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        _ => "special file",
    }
}
