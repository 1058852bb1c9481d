#pragma once

// The files of the file system itself, once the pass over $MFT has read their attributes.

#include "core/check/context.h"

namespace ntfs::check {

/// The boot sector's copy behind the last sector.
void check_boot_sectors(VolumeReader& reader, Findings& findings);
/// $Bitmap against the claimed clusters.
void check_cluster_bitmap(Context& context);
/// Clusters that several attributes claim against $Refcounts, on volumes that have it.
void check_cluster_references(Context& context);
/// $Volume, $AttrDef, $UpCase, $Boot, $BadClus, and where the boot sector says $MFT is.
void check_system_files(Context& context);
/// The restart pages of $LogFile: is there one, and does it say that nothing is to be replayed?
void check_log(Context& context);
/// $UsnJrnl: sizes, records, and the usns that files keep.
void check_usn(Context& context);
/// $Secure: descriptors, their copies, both indexes, and the ids that files refer to.
void check_security(Context& context);
/// $Reparse:$R and $ObjId:$O against the files.
void check_link_tables(Context& context);

}  // namespace ntfs::check
