#include "core/store/security_descriptors.h"

#include <algorithm>

#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"
#include "core/store/index_tree.h"
#include "core/store/security_stream.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::SdsEntryHeader;

namespace {

const FileReference kSecure(ondisk::kSecureRecord, 9);
/// Bounds of what is remembered; it is forgotten all at once.
constexpr uint64_t kMostRememberedBytes = 1 << 20;
constexpr size_t kMostInherited = 4096;
/// Descriptors with one hash that are compared before another one is added.
constexpr int kMostCollisions = 64;

bool is_damage(NtStatus status) {
  return status == NtStatus::ObjectNameNotFound || status == NtStatus::FileCorruptError;
}

/// The data of an entry of $SII or $SDH.
Result<SdsEntryHeader> header_of(ByteView entry, const Origin& origin) {
  const auto view = ondisk::IndexEntryView::of_valid(entry, 0);
  const auto* header = view_as<SdsEntryHeader>(view.data()).value_or(nullptr);
  if (header == nullptr) return corrupt(origin, "data", view.data().size(), "20 bytes");
  return *header;
}

}  // namespace

// Looking.

Result<SecurityDescriptors::DescriptorRef> SecurityDescriptors::find(uint32_t id) {
  {
    const MutexLock lock(mutex_);
    const auto known = remembered_.by_id.find(id);
    if (known != remembered_.by_id.end()) return known->second;
  }
  return remember(id, TRY(load(id)));
}

Result<SecurityDescriptors::Descriptor> SecurityDescriptors::load(uint32_t id) {
  IndexTree index(volume_, kSecure, u"$SII");
  const le32 key = le32::of(id);
  const auto entry = TRY(index.find(bytes_of(key)));
  if (!entry) return NtStatus::ObjectNameNotFound;
  const Origin origin{"security descriptor", kSecure.raw(), id};
  const SdsEntryHeader header = TRY(header_of(*entry, origin));
  if (header.security_id.get() != id) return corrupt(origin, "id", header.security_id.get());
  SecurityStream stream(volume_);
  Descriptor descriptor;
  descriptor.bytes = TRY(stream.read(header));
  descriptor.parts = TRY(ondisk::parse_security_descriptor(descriptor.bytes, origin));
  return descriptor;
}

SecurityDescriptors::DescriptorRef SecurityDescriptors::remember(uint32_t id,
                                                                 Descriptor descriptor) {
  auto shared = std::make_shared<const Descriptor>(std::move(descriptor));
  const uint32_t hash = ondisk::security_hash(shared->bytes);
  const MutexLock lock(mutex_);
  if (remembered_.count_bytes > kMostRememberedBytes) remembered_ = {};
  if (remembered_.by_id.emplace(id, shared).second) {
    remembered_.ids_by_hash.emplace(hash, id);
    remembered_.count_bytes += sizeof(Descriptor) + 2 * shared->bytes.size();
  }
  return shared;
}

Result<std::optional<uint32_t>> SecurityDescriptors::find_equal(ByteView descriptor,
                                                                uint32_t hash) {
  {
    const MutexLock lock(mutex_);
    const auto [from, to] = remembered_.ids_by_hash.equal_range(hash);
    for (auto at = from; at != to; ++at) {
      const auto known = remembered_.by_id.find(at->second);
      if (std::ranges::equal(known->second->bytes, descriptor)) return std::optional(at->second);
    }
  }
  IndexTree index(volume_, kSecure, u"$SDH");
  ondisk::SecurityHashKey key{le32::of(hash), le32::of(UINT32_MAX)};
  for (int i = 0; i < kMostCollisions; ++i) {
    const auto entry = TRY(index.find_floor(bytes_of(key)));
    if (!entry) break;
    const SdsEntryHeader header = TRY(header_of(*entry, {"$SDH entry", kSecure.raw(), hash}));
    const uint32_t id = header.security_id.get();
    if (header.hash.get() != hash || id == 0 || id > key.security_id.get()) break;
    const auto candidate = find(id);
    if (!candidate && !is_damage(candidate.error())) return candidate.error();
    if (candidate && std::ranges::equal((*candidate)->bytes, descriptor)) return std::optional(id);
    key.security_id.set(id - 1);
  }
  return std::optional<uint32_t>();
}

// Adding.

Result<uint32_t> SecurityDescriptors::next_id() {
  if (next_id_ == 0) {
    IndexTree index(volume_, kSecure, u"$SII");
    const le32 most = le32::of(UINT32_MAX);
    const auto last = TRY(index.find_floor(bytes_of(most)));
    next_id_ = ondisk::kFirstSecurityId;
    if (last) {
      const auto header = TRY(header_of(*last, {"$SII entry", kSecure.raw(), 0}));
      if (header.security_id.get() == UINT32_MAX) return NtStatus::FileSystemLimitation;
      next_id_ = std::max(next_id_, header.security_id.get() + 1);
    }
  }
  return next_id_;
}

Result<uint32_t> SecurityDescriptors::add(Transaction& transaction, ByteView descriptor) {
  if (descriptor.size() > kMostBytes) return NtStatus::InvalidParameter;
  const uint32_t hash = ondisk::security_hash(descriptor);
  if (const auto known = TRY(find_equal(descriptor, hash))) return *known;
  transaction.join(*this);
  const uint32_t id = TRY(next_id());
  SecurityStream stream(volume_);
  const SdsEntryHeader header = TRY(stream.append(transaction, id, descriptor));
  IndexTree by_id(volume_, kSecure, u"$SII");
  TRY(by_id.insert(transaction, ondisk::build_sii_entry(header)));
  IndexTree by_hash(volume_, kSecure, u"$SDH");
  TRY(by_hash.insert(transaction, ondisk::build_sdh_entry(header)));
  next_id_ = id + 1;
  return id;
}

Result<uint32_t> SecurityDescriptors::inherit(Transaction& transaction, uint32_t parent,
                                              Inheritor inheritor,
                                              const std::optional<FileOwner>& owner) {
  const Inheritance wanted{parent, inheritor, owner};
  {
    const MutexLock lock(mutex_);
    const auto known = remembered_.inherited.find(wanted);
    if (known != remembered_.inherited.end()) return known->second;
  }
  const auto from = find(parent);
  if (!from) return is_damage(from.error()) ? Result<uint32_t>(parent) : from.error();
  const auto made =
      ntfs::inherit((*from)->parts, inheritor, owner.value_or(owner_from_parent((*from)->parts)));
  if (!made) return parent;
  const ByteVector bytes = ondisk::build_security_descriptor(*made);
  if (bytes.size() > kMostBytes) return parent;
  const uint32_t id = TRY(add(transaction, bytes));
  const MutexLock lock(mutex_);
  if (remembered_.inherited.size() >= kMostInherited) remembered_.inherited.clear();
  remembered_.inherited.emplace(wanted, id);
  return id;
}

/// What was remembered may be of a transaction that was taken back.
void SecurityDescriptors::transaction_ended(const Transaction&, bool committed) {
  if (committed) return;
  next_id_ = 0;
  const MutexLock lock(mutex_);
  remembered_ = {};
}

}  // namespace ntfs
