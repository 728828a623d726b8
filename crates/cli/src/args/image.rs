//! `ukernel image`.

use super::Json;
use clap::Subcommand;
use std::path::PathBuf;
use ukernel_image::ImageName;

/// `ukernel image`
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Make an image of the Linux guest: what the guest has, and what is named here. Takes minutes.
    Add(Box<ImageAdd>),
    /// List images.
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Remove an image that no session has.
    Remove {
        /// Name of the image.
        name: ImageName,
        #[command(flatten)]
        output: Json,
    },
    /// Print what an image was made from: packages, versions, digests. `add --lock` takes it.
    Lock {
        /// Name of the image.
        #[arg(default_value = ukernel_image::BASE_IMAGE)]
        name: ImageName,
        /// Write it to this file instead.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// `ukernel image add`
#[derive(Debug, clap::Args)]
pub struct ImageAdd {
    /// What it is called.
    pub name: ImageName,
    /// Packages of Debian 12.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub packages: Vec<String>,
    /// Packages of Python, as wheels: x==1,y.
    #[arg(long, value_name = "REQUIREMENTS", value_delimiter = ',')]
    pub pip: Vec<String>,
    /// What this Dockerfile asks for; COPY takes from its folder.
    #[arg(long, value_name = "FILE")]
    pub dockerfile: Option<PathBuf>,
    /// Build only what equals this lock; otherwise every difference is named.
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
    #[command(flatten)]
    pub output: Json,
}
