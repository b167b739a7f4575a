//! The texts of the metadata tree that tell of the network (EC2 User Guide, "Instance metadata categories").

use std::collections::{BTreeMap, BTreeSet};

use crate::addresses::VpcCidr;

const ROOT: &str = "/latest/meta-data";

/// The primary interface: device 0.
const PRIMARY: &str = "0e:49:61:0f:c3:11";

/// Device 1, in another VPC. It is listed first.
const SECOND: &str = "02:29:96:8f:6a:2d";

/// The VPC's secondary block, listed before the primary one.
const SECONDARY_BLOCK: &str = "100.64.0.0/16";

/// The block of the second interface's VPC.
const OTHER_VPC: &str = "192.168.0.0/16";

/// The text at `path`, or the list of what is below it.
pub(crate) fn text(vpc: VpcCidr, path: &str) -> Option<String> {
    let leaves = leaves(vpc);
    let path = path.strip_prefix(ROOT)?;
    let path = match path {
        "" => path,
        _ => path.strip_prefix('/')?,
    };
    if let Some(text) = leaves.get(path) {
        return Some(text.clone());
    }
    let directory = match path.trim_end_matches('/') {
        "" => String::new(),
        path => format!("{path}/"),
    };
    let entries: BTreeSet<&str> = leaves
        .keys()
        .filter_map(|leaf| leaf.strip_prefix(directory.as_str()))
        .filter_map(|rest| rest.split_inclusive('/').next())
        .collect();
    let list: Vec<&str> = entries.into_iter().collect();
    (!list.is_empty()).then(|| list.join("\n"))
}

fn leaves(vpc: VpcCidr) -> BTreeMap<String, String> {
    let parent = vpc.parent().to_string();
    let mut leaves = BTreeMap::new();
    let mut leaf = |path: &str, text: &str| leaves.insert(path.to_owned(), text.to_owned());
    leaf("instance-id", "i-0123456789abcdef0");
    leaf("local-ipv4", &parent);
    leaf("mac", PRIMARY);
    leaf("placement/availability-zone", "us-east-1a");
    leaf("placement/region", "us-east-1");
    leaf("services/domain", "amazonaws.com");
    let block = vpc.to_string();
    let blocks = format!("{SECONDARY_BLOCK}\n{block}");
    for (mac, device, address, block, blocks) in [
        (PRIMARY, "0", parent.as_str(), block.as_str(), &*blocks),
        (SECOND, "1", "192.168.0.10", OTHER_VPC, OTHER_VPC),
    ] {
        let mut of_interface =
            |name: &str, text: &str| leaf(&format!("network/interfaces/macs/{mac}/{name}"), text);
        of_interface("device-number", device);
        of_interface("local-ipv4s", address);
        of_interface("mac", mac);
        of_interface("vpc-ipv4-cidr-block", block);
        of_interface("vpc-ipv4-cidr-blocks", blocks);
    }
    leaves
}
