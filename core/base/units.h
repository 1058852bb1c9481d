#pragma once

// Unit types: a value that carries its unit in its type, with only the arithmetic that means
// something. Conversions to plain integers are explicit (`raw()`).

#include <compare>
#include <cstdint>
#include <functional>

namespace ntfs {

/// A number of clusters.
class ClusterCount {
 public:
  constexpr ClusterCount() = default;
  constexpr explicit ClusterCount(uint64_t count) : value_(count) {}
  constexpr uint64_t raw() const { return value_; }
  friend constexpr auto operator<=>(ClusterCount, ClusterCount) = default;
  friend constexpr ClusterCount operator+(ClusterCount a, ClusterCount b) {
    return ClusterCount(a.value_ + b.value_);
  }
  friend constexpr ClusterCount operator-(ClusterCount a, ClusterCount b) {
    return ClusterCount(a.value_ - b.value_);
  }
  constexpr ClusterCount& operator+=(ClusterCount b) {
    value_ += b.value_;
    return *this;
  }
  constexpr ClusterCount& operator-=(ClusterCount b) {
    value_ -= b.value_;
    return *this;
  }

 private:
  uint64_t value_ = 0;
};

/// Virtual cluster number: a cluster's place in an attribute's value.
class Vcn {
 public:
  constexpr Vcn() = default;
  constexpr explicit Vcn(uint64_t vcn) : value_(vcn) {}
  constexpr uint64_t raw() const { return value_; }
  friend constexpr auto operator<=>(Vcn, Vcn) = default;
  friend constexpr Vcn operator+(Vcn a, ClusterCount n) { return Vcn(a.value_ + n.raw()); }
  friend constexpr ClusterCount operator-(Vcn a, Vcn b) {
    return ClusterCount(a.value_ - b.value_);
  }

 private:
  uint64_t value_ = 0;
};

/// Logical cluster number: a cluster's place on the volume. `hole()` stands for "not allocated".
class Lcn {
 public:
  constexpr Lcn() = default;
  constexpr explicit Lcn(uint64_t lcn) : value_(lcn) {}
  static constexpr Lcn hole() { return Lcn(~uint64_t{0}); }
  constexpr bool is_hole() const { return value_ == ~uint64_t{0}; }
  constexpr uint64_t raw() const { return value_; }
  friend constexpr auto operator<=>(Lcn, Lcn) = default;
  friend constexpr Lcn operator+(Lcn a, ClusterCount n) { return Lcn(a.value_ + n.raw()); }
  friend constexpr ClusterCount operator-(Lcn a, Lcn b) {
    return ClusterCount(a.value_ - b.value_);
  }

 private:
  uint64_t value_ = 0;
};

/// `count` clusters of an attribute from `vcn`, standing at `lcn` on the volume (or a hole).
struct Run {
  Vcn vcn;
  Lcn lcn;
  ClusterCount count;
  constexpr Vcn end() const { return vcn + count; }
  friend constexpr bool operator==(const Run&, const Run&) = default;
};

/// `count` clusters of the volume from `lcn`.
struct ClusterRun {
  Lcn lcn;
  ClusterCount count;
  constexpr Lcn end() const { return lcn + count; }
  friend constexpr bool operator==(const ClusterRun&, const ClusterRun&) = default;
};

/// 48-bit record number and 16-bit sequence number of a file record.
class FileReference {
 public:
  constexpr FileReference() = default;
  constexpr FileReference(uint64_t record, uint16_t sequence)
      : value_((record & kRecordMask) | (static_cast<uint64_t>(sequence) << 48)) {}
  static constexpr FileReference from_raw(uint64_t raw) {
    FileReference result;
    result.value_ = raw;
    return result;
  }
  constexpr uint64_t raw() const { return value_; }
  constexpr uint64_t record() const { return value_ & kRecordMask; }
  constexpr uint16_t sequence() const { return static_cast<uint16_t>(value_ >> 48); }
  friend constexpr auto operator<=>(FileReference, FileReference) = default;

 private:
  static constexpr uint64_t kRecordMask = (uint64_t{1} << 48) - 1;
  uint64_t value_ = 0;
};

}  // namespace ntfs

template <>
struct std::hash<ntfs::FileReference> {
  size_t operator()(ntfs::FileReference reference) const {
    return std::hash<uint64_t>()(reference.raw() * 0x9E3779B97F4A7C15u);
  }
};
