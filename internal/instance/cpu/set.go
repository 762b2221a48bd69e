package cpu

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lxd/internal/errs"
)

// Check accepts a count ("2") or a set ("0-3", "1,5").
func Check(v string) error {
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return nil
	}
	if !strings.ContainsAny(v, ",-") {
		return errors.New("must be a number of CPUs such as 2, or a set such as 0-3 or 1,5")
	}
	_, err := Parse(v)
	return err
}

// CheckSet accepts a kernel list, "0-3" or "1,5" or "2".
func CheckSet(v string) error {
	_, err := Parse(v)
	return err
}

// Parse reads a kernel CPU list.
func Parse(v string) (cpus []int, err error) {
	for part := range strings.SplitSeq(v, ",") {
		low, high, ok := strings.Cut(part, "-")
		if !ok {
			high = low
		}
		from, err1 := strconv.Atoi(low)
		to, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || from < 0 || to < from || to > maxCPU {
			return nil, fmt.Errorf("%q is not a CPU or a range of CPUs from 0 to %d", part, maxCPU)
		}
		for c := from; c <= to; c++ {
			cpus = append(cpus, c)
		}
	}
	return cpus, nil
}

// Present fails with Invalid where "limits.cpu" names CPUs that are not online. A number of CPUs names none, and with nothing known of the
// host's every set is taken for good.
func Present(want string, online []int) error {
	if _, err := strconv.Atoi(want); err == nil || want == "" || len(online) == 0 {
		return nil
	}
	set, err := Parse(want)
	if err != nil {
		return err
	}
	for _, n := range set {
		if !slices.Contains(online, n) {
			return errs.Newf(errs.Invalid, "limits.cpu %q names CPU %d, but this server has the CPUs %s: choose of these, or give a number of CPUs", want, n, Text(online))
		}
	}
	return nil
}

// maxCPU bounds what a set may name, so that a typing error does not make a huge list.
const maxCPU = 8191

// Text writes CPUs as a kernel list.
func Text(cpus []int) string {
	cpus = slices.Sorted(slices.Values(cpus))
	var parts []string
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		part := strconv.Itoa(cpus[i])
		if j > i {
			part += "-" + strconv.Itoa(cpus[j])
		}
		parts, i = append(parts, part), j+1
	}
	return strings.Join(parts, ",")
}

// Near are the CPUs of the NUMA nodes in a list that CheckSet accepts, in order; a node that there is not has none.
func Near(list string, nodes map[int][]int) (cpus []int) {
	wanted, err := Parse(list)
	if err != nil {
		return nil
	}
	for _, n := range wanted {
		for _, c := range nodes[n] {
			if !slices.Contains(cpus, c) {
				cpus = append(cpus, c)
			}
		}
	}
	slices.Sort(cpus)
	return cpus
}
