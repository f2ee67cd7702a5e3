package browser

import (
	"bytes"
	"cmp"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// maxImageSize is the largest file of an image of the documents.
const maxImageSize = 150_000

// UPDATE_IMAGES=1 writes the screenshots of README. Else they only have to exist and to be small.
func TestImages(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "images")
	for name, path := range map[string]string{
		"coverage.png": "/",
		"resource.png": "/resources/ec2_instance/" + changeOf(t, "changed", "since=3d&kind=instance").ID,
	} {
		file := filepath.Join(dir, name)
		if os.Getenv("UPDATE_IMAGES") == "1" {
			b := newTab(t, 1200, 760)
			b.open(path)
			for get(b, chromedp.Evaluate[bool](`document.querySelector(".notices .notice") !== null`)) {
				time.Sleep(2 * time.Second) // a receiver of the demo is away now and then
				b.open(path)
			}
			small, err := reduceColors(get(b, chromedp.CaptureScreenshot()))
			if err := errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(file, small, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		info, err := os.Stat(file)
		if err != nil || info.Size() > maxImageSize {
			t.Errorf("%s: %v, at most %d bytes; UPDATE_IMAGES=1 writes it", file, err, maxImageSize)
		}
	}
}

// reduceColors returns a PNG with its 256 most frequent colors; the others become the nearest of them.
func reduceColors(picture []byte) ([]byte, error) {
	from, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, err
	}
	counts := map[color.RGBA]int{}
	for y := from.Bounds().Min.Y; y < from.Bounds().Max.Y; y++ {
		for x := from.Bounds().Min.X; x < from.Bounds().Max.X; x++ {
			counts[color.RGBAModel.Convert(from.At(x, y)).(color.RGBA)]++
		}
	}
	most := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int { return cmp.Compare(counts[b], counts[a]) })
	var palette color.Palette
	for _, c := range most[:min(len(most), 256)] {
		palette = append(palette, c)
	}
	to := image.NewPaletted(from.Bounds(), palette)
	draw.Draw(to, to.Bounds(), from, from.Bounds().Min, draw.Src)
	var b bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, to)
	return b.Bytes(), err
}
