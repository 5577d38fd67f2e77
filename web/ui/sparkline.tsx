/** A line of the last values on a canvas. Colour comes from the stylesheet (`color` of the canvas). */
import { useEffect, useRef } from 'react'

type SparklineProps = { values: readonly number[]; label: string; max?: number; slots?: number }

/** Points that fit; more are not told apart at this width. */
const SLOTS = 120

export function Sparkline({ values, label, max, slots = SLOTS }: SparklineProps) {
  const ref = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    const canvas = ref.current
    if (canvas !== null) draw(canvas, values.slice(-slots), { max, slots })
  })
  return <canvas ref={ref} className="sparkline" role="img" aria-label={label} />
}

function draw(canvas: HTMLCanvasElement, values: readonly number[], scale: { max: number | undefined; slots: number }) {
  const ratio = window.devicePixelRatio
  const width = canvas.clientWidth
  const height = canvas.clientHeight
  if (canvas.width !== width * ratio) canvas.width = width * ratio
  if (canvas.height !== height * ratio) canvas.height = height * ratio
  const context = canvas.getContext('2d')
  if (context === null) return
  context.setTransform(ratio, 0, 0, ratio, 0, 0)
  context.clearRect(0, 0, width, height)
  if (values.length < 2) return
  const top = Math.max(scale.max ?? 0, ...values) || 1
  const stepX = width / (scale.slots - 1)
  const x = (index: number) => width - (values.length - 1 - index) * stepX
  const y = (value: number) => height - 1.5 - (value / top) * (height - 3)
  const colour = getComputedStyle(canvas).color
  const line = new Path2D()
  values.forEach((value, index) => {
    if (index === 0) line.moveTo(x(index), y(value))
    else line.lineTo(x(index), y(value))
  })
  const area = new Path2D(line)
  area.lineTo(width, height)
  area.lineTo(x(0), height)
  context.fillStyle = colour
  context.globalAlpha = 0.12
  context.fill(area)
  context.globalAlpha = 1
  context.strokeStyle = colour
  context.lineWidth = 1.25
  context.lineJoin = 'round'
  context.stroke(line)
}
